"""Facts of this process and machine: CPUs, memory, processes, signals, the shell.

It is sent to engines without nbpar; beyond the standard library it needs psutil.
"""
