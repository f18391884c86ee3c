"""The far side: the loop that runs a user's functions where the worker is.

Imports the standard library, cloudpickle, pyzmq, `nbpar.wire` and values of `nbpar.core`
only, so that it can travel to an engine on which nbpar is not installed.
"""
