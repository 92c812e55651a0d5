"""Whose commands are still known, after he was let go?

A phone that logs on anew may ask what became of a command, also when nobody spoke for its user meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

from gateway.core.calls import Calls

KeyT = TypeVar("KeyT", bound=Hashable)
WaiterT = TypeVar("WaiterT")
_ABSENT_MAX: Final = 10_000


class CommandHistory(Generic[KeyT, WaiterT]):
    """The commands of the users of one node, by user.

    Invariant: while a user is present, and until his outcomes are forgotten, he has one :class:`Calls`.
    Bounded: of those who are absent the one who left first is forgotten; then a retry is ``unknown``.
    """

    def __init__(self, *, absent_max: int = _ABSENT_MAX) -> None:
        self._absent_max = absent_max
        self._present: dict[KeyT, Calls[WaiterT]] = {}
        self._absent: OrderedDict[KeyT, Calls[WaiterT]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._present) + len(self._absent)

    @property
    def users(self) -> tuple[KeyT, ...]:
        """Those of whom commands are known, or may be."""
        return (*self._present, *self._absent)

    def of(self, user: KeyT) -> Calls[WaiterT] | None:
        """Return the user's commands, if any are known."""
        return self._present[user] if user in self._present else self._absent.get(user)

    def came(self, user: KeyT) -> Calls[WaiterT]:
        """Return the user's commands; he is present from now on."""
        if user not in self._present:
            self._present[user] = self._absent.pop(user) if user in self._absent else Calls()
        return self._present[user]

    def left(self, user: KeyT) -> None:
        """Note that nobody speaks for the user here any more."""
        calls = self._present.pop(user, None)
        if calls is None or not len(calls):
            return
        self._absent[user] = calls
        if len(self._absent) > self._absent_max:
            self._absent.popitem(last=False)

    def expire(self, now: float) -> None:
        """Forget those whose outcomes were all kept long enough."""
        for user, calls in list(self._absent.items()):
            calls.expire(now)
            if not len(calls):
                del self._absent[user]
