"""The remote side: the loop that runs a user's functions on a worker.

Imports the standard library, cloudpickle, pyzmq, `nbpar.wire` and values of `nbpar.core`
only, so that it can be sent to an engine on which nbpar is not installed.
"""
