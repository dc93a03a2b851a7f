"""When is a request done? When all parts of its share are back.

Each record carries a share of its request; outputs split the share of their input; a record that ends gives
its share back. (Counting +1 and −1 does not work: a consumer's −1 overtakes its producer's +1.) A share is
``amount`` units of ``2**(-STEP_BITS * level)``: when an amount is too small to be split among the outputs,
they go one level finer, so that no fan-out exhausts it and amounts stay 64-bit integers on the wire.
"""

from __future__ import annotations

WHOLE = 1 << 60
STEP_BITS = 32
_MAX_AMOUNT = (1 << 63) - 1


def split(amount: int, level: int, parts: int) -> tuple[int, int, int]:
    """Split a share in ``parts``: (amount of each but the last, amount of the last, their level).

    >>> split(10, 0, 3)
    (3, 4, 0)
    >>> split(1, 0, 2) == (1 << 31, 1 << 31, 1)
    True
    """
    while amount < parts:
        amount <<= STEP_BITS
        level += 1
    each = amount // parts
    return each, amount - each * (parts - 1), level


class Outstanding:
    """The part of one request's share that is not back yet."""

    __slots__ = ("_amount", "_level")

    def __init__(self) -> None:
        self._amount = WHOLE
        self._level = 0

    def give_back(self, amount: int, level: int) -> bool:
        """Take a share back; True once nothing is outstanding."""
        if level != self._level:
            amount = self._align(amount, level)
        self._amount -= amount
        return self._amount <= 0

    def _align(self, amount: int, level: int) -> int:
        if level > self._level:
            self._amount <<= STEP_BITS * (level - self._level)
            self._level = level
            return amount
        return amount << (STEP_BITS * (self._level - level))


class Returns:
    """Shares given back by the records of one batch, summed per request and level."""

    __slots__ = ("_amounts", "_entries")

    def __init__(self) -> None:
        self._amounts: dict[tuple[int, int], int] = {}
        self._entries: list[tuple[int, int, int]] = []

    def add(self, request: int, amount: int, level: int) -> None:
        """Note that ``request`` gets ``amount`` at ``level`` back."""
        key = (request, level)
        amount += self._amounts.get(key, 0)
        if amount > _MAX_AMOUNT:
            self._entries.append((request, amount - WHOLE, level))
            amount = WHOLE
        self._amounts[key] = amount

    def entries(self) -> list[tuple[int, int, int]]:
        """What is to be sent: (request, amount, level), each amount within 64 bits."""
        summed = [(request, amount, level) for (request, level), amount in self._amounts.items()]
        return self._entries + summed
