"""Real work to try nbpar on: measure every module of Python's own standard library.

`nbpar demo` does it on the command line.  In a notebook:

    from nbpar import demo
    results = pool.map(demo.measure, demo.standard_library())
    print(demo.table(results))
"""

from nbpar.demo.measuring import Function, Measured, Unreadable, measure, standard_library
from nbpar.demo.report import table, totals

__all__ = ["Function", "Measured", "Unreadable", "measure", "standard_library", "table", "totals"]
