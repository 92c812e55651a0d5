"""The turns of a node's loop in which what links bring is received, and then digested.

Receiving only notes the newest unread reading of each key, which costs little; whatever a reading leads
to costs much, and has a budget of its own. So no flood on links keeps phones, timers and leases waiting,
and what cannot be digested in time is replaced by what is newer instead of growing old.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final, Protocol

from gateway.runtime.epoll_transport import EVENTS_AT_ONCE, Wires
from gateway.runtime.ports import Clock
from gateway.runtime.spawn import log_fault

INTAKE_S: Final = 0.004
"""How long links are read in one turn."""
DIGEST_S: Final = 0.006
"""How long what was read is digested in one turn."""
REST_S: Final = 0.002
"""Between two turns that did all there was: waking up for each message costs more than reading it."""
IDLE_TURNS: Final = 5
"""After so many turns without anything to do the loop waits until some link is ready."""
BEHIND_S: Final = 1.0
"""For so long no turn did all there was: then the node is overloaded."""

_LOG: Final = logging.getLogger(__name__)


class Digester(Protocol):
    """A link of which something was received that is not digested."""

    is_due: bool
    """Whether :meth:`Turns.want` was called since the last :meth:`digest`; set by :class:`Turns`."""

    def digest(self) -> None:
        """Digest all that was received. Never blocks; may ask for the next turn by :meth:`Turns.want`."""
        ...

    def abort(self) -> None:
        """End the link at once."""
        ...


class Phones(Protocol):
    """The phones, which are written to after links were digested."""

    def hold(self) -> None:
        """Wake nothing: :meth:`release` follows in this turn of the loop."""
        ...

    def release(self) -> None:
        """Write what is due to those for which something came meanwhile."""
        ...


class Turns:
    """Receives from all links of a node, and has them digest it, within budgets.

    Invariants: a turn lasts as long as its budgets and one step more; links take turns at both, first in
    first out; a link that wants to digest does so in this turn or, before all that want it later, in one
    of the next.

    Args:
        clock: Measures budgets.
        rest_s: How long to rest after a turn that did all there was. 0: links are served as they are ready.
    """

    def __init__(self, clock: Clock, *, rest_s: float = 0.0) -> None:
        self.wires: Final = Wires(self._wake, clock.now)
        """Carries links in clear text."""
        self.phones: Phones | None = None
        """Written to at the end of each turn, instead of in one that they would be woken for."""
        self.skipped = 0
        """How many readings were replaced by newer ones before they were digested."""
        self._clock = clock
        self._rest_s = rest_s
        self._due: deque[Digester] = deque()
        self._is_planned = False
        """Whether a turn is under way or planned."""
        self._idle = 0
        self._behind_since: float | None = None

    def want(self, link: Digester) -> None:
        """Have *link* digest soon. Many calls before it are one."""
        if link.is_due:
            return
        link.is_due = True
        self._due.append(link)
        if not self._is_planned:
            self._plan(0.0)

    @property
    def behind_s(self) -> float:
        """For how long no turn has done all there was; 0 when the last one did."""
        return 0.0 if self._behind_since is None else self._clock.now() - self._behind_since

    @property
    def is_overloaded(self) -> bool:
        """Whether the node has not kept up for :data:`BEHIND_S`."""
        return self.behind_s >= BEHIND_S

    # ---- a turn ----

    def _wake(self) -> None:
        """Take a turn now: some link is ready, and no turn is planned."""
        if not self._is_planned:
            self._turn()

    def _turn(self) -> None:
        began, full_reads, phones = self._clock.now(), self.wires.full_reads, self.phones
        self._is_planned = True
        self.wires.rest()
        if phones is not None:
            phones.hold()
        try:
            ready, is_all_read = self._receive(began)
            wanted = len(self._due)
            self._digest(wanted)
        finally:
            if phones is not None:
                phones.release()
        is_behind = not is_all_read or len(self._due) > 0
        self._note(is_behind=is_behind)
        if is_behind or self.wires.full_reads != full_reads:
            self._plan(0.0)
        else:
            self._rest(is_idle=not (ready or wanted))

    def _receive(self, began: float) -> tuple[int, bool]:
        """Read links that are ready; returns how many were, and whether that was all."""
        total = 0
        while (ready := self.wires.serve()) == EVENTS_AT_ONCE:
            total += ready
            if self._clock.now() - began > INTAKE_S:
                return total, False
        return total + ready, True

    def _digest(self, most: int) -> None:
        """Let links digest in turn: at most *most*, as a link that wants to again has the next turn."""
        began = self._clock.now()
        for _ in range(most):
            link = self._due.popleft()
            link.is_due = False
            try:
                link.digest()
            except Exception as fault:  # noqa: BLE001 - one link's fault ends one link
                log_fault(_LOG, "digest_failed", fault)
                link.abort()
            if self._clock.now() - began > DIGEST_S:
                return

    def _note(self, *, is_behind: bool) -> None:
        if not is_behind:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = self._clock.now()

    def _rest(self, *, is_idle: bool) -> None:
        self._idle = self._idle + 1 if is_idle else 0
        if self._rest_s == 0.0 or self._idle > IDLE_TURNS:
            self._idle = 0
            self._is_planned = False
            self.wires.watch_all()
        else:
            self._plan(self._rest_s)

    def _plan(self, after_s: float) -> None:
        self._is_planned = True
        loop = asyncio.get_running_loop()
        if after_s:
            loop.call_later(after_s, self._turn)
        else:
            loop.call_soon(self._turn)
