"""Large arrays that functions have captured, in memory once for all engines of this host."""

from __future__ import annotations

from collections import OrderedDict

from nbpar.wire.lodging import CAN_LODGE, WORTH, Lodging
from nbpar.wire.messages import Load

FUNCTIONS = 8
"""Functions whose arrays are kept; a worker that needs those of another asks for it again."""


class Lodgings:
    """What was lodged lately."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Lodging] = OrderedDict()

    def lodged(self, load: Load) -> Load:
        """Return the function with its buffers lodged, if they are large; otherwise as it is."""
        buffers = load.function.buffers
        if not CAN_LODGE or sum(map(len, buffers)) < WORTH:
            return load
        if load.digest not in self._kept:
            try:
                self._kept[load.digest] = Lodging(buffers)
            except OSError:
                return load  # no memory for it: let it be sent
        self._kept.move_to_end(load.digest)
        while len(self._kept) > FUNCTIONS:
            self._kept.popitem(last=False)[1].close()
        return load._replace(function=load.function._replace(buffers=self._kept[load.digest].lodged))

    def clear(self) -> None:
        """Let go of all."""
        while self._kept:
            self._kept.popitem()[1].close()
