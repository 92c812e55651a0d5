"""Queries of a link: present subscriptions, and the requests to reach the wanted ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import count
from typing import Final

from gateway.core.interest import ALWAYS
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.link_requests import LinkAnswer, Listen, Listening, StopListening
from gateway.domain.resources import FunctionState
from gateway.domain.upstream import FunctionChanged, FunctionName, Source
from gateway.runtime.mirror import Mirror
from gateway.runtime.ports import Clock, Link
from gateway.runtime.questions import Questions
from gateway.runtime.spawn import TaskGroup

DIRECTORY: Final = Listen(None, Source.DIRECTORY, None)
SERVED_S: Final = 10.0
"""After how long what was asked for and not told is done without: phones are served with what is there."""
KEPT_S: Final = 60.0
"""After how long realtime data of the last link is shown no more that this one has not told."""
STOPPED_MOST: Final = 32
"""So many queries are remembered that tell no more, until what takes their place has told."""
_FUNCTION_OF: Final[dict[Source, FunctionName]] = {
    Source.REALTIME: "realtime",
    Source.CUMULATIVE: "historical",
    Source.CONFIGURATION: "administration",
    Source.DIRECTORY: "administration",
}


class Queries:
    """What one link listens to.

    Invariants: the same is asked once at a time; an answer counts whenever it comes; what is listened to
    no longer is stopped, and forgotten only when what takes its place has told.

    Args:
        link: Where to stop queries.
        questions: Where to ask for them.
        mirror: Shows what they tell.
        clock: Says what is late.
        ask_later: Called when something is to be asked again soon.
        directory_heard: Called when it is known whether changes of the directory are told.
    """

    def __init__(
        self,
        link: Link,
        questions: Questions,
        mirror: Mirror,
        clock: Clock,
        ask_later: Callable[[], None],
        directory_heard: Callable[[], None],
    ) -> None:
        self._link = link
        self._questions = questions
        self._mirror = mirror
        self._clock = clock
        self._ask_later = ask_later
        self._directory_heard = directory_heard
        self._wanted = ALWAYS
        self._queries: dict[Listen, int] = {}
        """What is listened to; a query below 0 was refused, or is done without until it is answered."""
        self._again: set[Listen] = set()
        """What is to be asked again."""
        self._asked_at: dict[Listen, float] = {}
        """Since when the first reading of what is waited for."""
        self._unanswered: set[Listen] = set()
        self._down: set[FunctionName] = set()
        self._none = count(-1, -1)
        self._stopping: list[int] = []
        self._stopped: list[int] = []

    @property
    def are_told(self) -> bool:
        """Whether all that is wanted was read once, or is done without."""
        unanswered = (self._unanswered & self._wanted) - self._queries.keys()
        return not unanswered and self._mirror.assembly.settled

    # ---- what is wanted ----

    def drop_all(self) -> None:
        """Have everything asked again: something may have been lost."""
        for listen in list(self._queries):
            self._drop(listen)

    def ask_refused_again(self) -> bool:
        """Have it asked again what was refused or got no answer; tells whether there is any such thing."""
        self._again |= {each for each, query in self._queries.items() if query < 0} - self._unanswered
        return bool(self._again)

    def function(self, change: FunctionChanged) -> None:
        """Note whether a function is down: then it says itself when what it refuses can be had again."""
        if change.state is FunctionState.DOWN:
            self._down.add(change.function)
        else:
            self._down.discard(change.function)

    @property
    def awaits(self) -> bool:
        """Whether anything that was asked has not been told yet: then :meth:`tick` has something to do."""
        return bool(self._asked_at)

    def tick(self, now: float) -> None:
        """Do without what is late."""
        for listen, since in list(self._asked_at.items()):
            query = self._queries.get(listen)
            is_told = query is not None and not self._mirror.assembly.awaits(query)
            if is_told or listen not in self._wanted:
                del self._asked_at[listen]
            elif now - since >= self._patience_s(listen):
                self._do_without(listen)

    def _patience_s(self, listen: Listen) -> float:
        is_missed = listen.source is Source.REALTIME and not (self._mirror.live or self._mirror.is_empty)
        return KEPT_S if is_missed else SERVED_S

    def forget_stopped(self) -> None:
        """Forget what only queries told that tell no more: what takes their place has told."""
        lacks = self._mirror.assembly.lacks
        self._forget(query for query in self._stopped if query < 0 or lacks(query))
        if not self._mirror.is_partial:  # what is late may be had from them, though it is old
            self._forget(self._stopped)

    def _forget(self, queries: Iterable[int]) -> None:
        gone = set(queries)
        self._stopped = [query for query in self._stopped if query not in gone]
        for query in gone:
            self._mirror.show(self._mirror.assembly.stopped(query))

    # ---- asking ----

    async def hear_of_directory(self) -> None:
        """Listen to the directory, if that is not done yet."""
        if self._is_to_ask(DIRECTORY):
            await self._listen_to(DIRECTORY)

    async def listen(self, wanted: frozenset[Listen]) -> None:
        """Listen to what is wanted and to nothing else."""
        self._wanted = wanted
        for listen in self._queries.keys() - wanted:
            self._drop(listen)
        stopping, self._stopping = self._stopping, []
        async with TaskGroup() as tasks:
            for query in stopping:
                tasks.create_task(self._stop(query))
        async with TaskGroup() as tasks:
            for listen in sorted(filter(self._is_to_ask, wanted), key=repr):
                tasks.create_task(self._listen_to(listen))

    async def _stop(self, query: int) -> None:
        with suppress(GatewayError):  # then it tells on what nobody looks at
            await self._link.request(StopListening(query))
        self._note_stopped(query)

    def _is_to_ask(self, listen: Listen) -> bool:
        return listen not in self._queries or listen in self._again

    async def _listen_to(self, listen: Listen) -> None:
        if listen in self._unanswered:
            self._asked_at.setdefault(listen, self._clock.now())
            return
        self._again.discard(listen)
        self._unanswered.add(listen)
        self._mirror.early.expect(True)
        self._asked_at[listen] = self._clock.now()
        await self._questions.ask(listen, listen, lambda answer: self._take(listen, answer))

    # ---- answers ----

    def _take(self, listen: Listen, answer: LinkAnswer | GatewayError) -> None:
        self._unanswered.discard(listen)
        if isinstance(answer, Listening):
            if listen in self._queries:
                self._drop(listen)
            self._run(listen, answer.query)
            self._asked_at[listen] = self._clock.now()
        elif isinstance(answer, GatewayError) and answer.code is ErrorCode.UPSTREAM_UNAVAILABLE:
            self._ask_later()
            self._do_without(listen)
        elif isinstance(answer, GatewayError):
            self._refused(listen, answer)
        self._mirror.early.expect(bool(self._unanswered))
        if listen == DIRECTORY:
            self._directory_heard()

    def _run(self, listen: Listen, query: int) -> None:
        self._queries[listen] = query
        self._mirror.listening(query, listen)

    def _do_without(self, listen: Listen) -> None:
        """Show what *listen* would tell without it, until it is told."""
        self._asked_at.pop(listen, None)
        if listen not in self._queries:
            self._run(listen, next(self._none))
        self._mirror.show(self._mirror.assembly.do_without(self._queries[listen]))

    def _refused(self, listen: Listen, error: GatewayError) -> None:
        self._asked_at.pop(listen, None)
        if not self._says_when(listen, error):
            self._ask_later()
        before, assembly = self._queries.get(listen), self._mirror.assembly
        query = self._queries[listen] = next(self._none)
        self._mirror.show(assembly.refused(query, listen))
        if before is not None:  # nothing was ever told by it
            self._mirror.show(assembly.stopped(before))

    def _says_when(self, listen: Listen, error: GatewayError) -> bool:
        """Tell whether a function refused it that was told to be down: it says when it is up again."""
        named = error.details.get("function")
        is_unavailable = error.code is ErrorCode.FUNCTION_UNAVAILABLE
        return is_unavailable and (named or _FUNCTION_OF[listen.source]) in self._down

    def _drop(self, listen: Listen) -> None:
        query = self._queries.pop(listen)
        self._again.discard(listen)
        if query >= 0:
            self._stopping.append(query)
        else:
            self._note_stopped(query)

    def _note_stopped(self, query: int) -> None:
        if self._mirror.assembly.awaits(query):
            self._mirror.show(self._mirror.assembly.stopped(query))
            return
        self._stopped.append(query)
        if len(self._stopped) > STOPPED_MOST:
            self._forget(self._stopped[:1])
