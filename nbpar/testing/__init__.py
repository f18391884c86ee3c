"""Tools for testing parallel code: gates, a fake clock, patient waiting.

gate = Gate()
run = pool.map_async(lambda i: gate.wait() if i == 0 else i, range(4), chunksize=1)
gate.until_waiting()                  # item 0 is being computed now, on any backend
gate.open()                           # and goes on
"""

from __future__ import annotations

from nbpar.testing.gates import PATIENCE, FakeClock, Gate, until

__all__ = ["PATIENCE", "FakeClock", "Gate", "until"]
