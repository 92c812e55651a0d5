"""Which keys seal and open now, and who uses them?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.app.keys import SealingKey

Keys = Sequence[tuple[str, bytes]]
"""(id, 32 secret bytes). The first seals, all open."""
Holder = Callable[[Keys], None]


class Keyring:
    """The sealing keys of one node. Its repr shows none.

    Args:
        keys: Those in force at first.
    """

    def __init__(self, keys: Sequence[SealingKey]) -> None:
        self._keys: tuple[SealingKey, ...] = tuple(keys)
        self._holders: Final[list[Holder]] = []

    @property
    def raw(self) -> Keys:
        """The keys, as those who use them take them."""
        return [(key.id, key.key.raw) for key in self._keys]

    @property
    def ids(self) -> tuple[str, ...]:
        """Their ids, which may be shown."""
        return tuple(key.id for key in self._keys)

    @property
    def names(self) -> tuple[str, ...]:
        """Their ids with check values, which may be shown as well."""
        return tuple(key.name for key in self._keys)

    def tell(self, holder: Holder) -> None:
        """Have *holder* told of other keys, when they come."""
        self._holders.append(holder)

    def replace(self, keys: Sequence[SealingKey]) -> bool:
        """Put *keys* in force everywhere; tells whether another one seals now."""
        before, self._keys = self._keys, tuple(keys)
        if self._keys != before:
            for holder in self._holders:
                holder(self.raw)
        return self._keys[0] != before[0]
