"""The double's link: events and answers in one order, and its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final, Literal, Protocol

from gateway.domain.commands import AttachSession, Execute, LinkAnswer, LinkRequest, Listen, QueryDirectory
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.upstream import LinkClosed, LinkEvent, Reading
from gateway.runtime.event_loop import resolve
from gateway.runtime.ports import Clock, OnAnswer, OnReadings

REQUEST_S: Final = 5.0
"""The real adapter's default; the answer to a command is awaited without a bound."""
PATIENCE_S: Final = 60.0
"""The real adapter's default for requests whose answers contain data."""

Received = LinkAnswer | GatewayError | LinkClosed
Serve = Callable[[LinkRequest], LinkAnswer]


class Waiting(Protocol):
    """Whoever waits for an answer; a future is one."""

    def done(self) -> bool: ...

    def set_result(self, received: Received, /) -> None: ...


class Prompt:
    """Takes an answer in the call that reads it, as the real adapter does."""

    def __init__(self, answered: OnAnswer) -> None:
        self._answered: OnAnswer | None = answered

    def done(self) -> bool:
        return self._answered is None

    def set_result(self, received: Received, /) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(received)

    def cancel(self) -> None:
        self._answered = None


class FakeLink:
    """One open link of the double.

    Invariant: events of the centre are received in their order. An answer comes after the events that its
    request caused, and before those of :meth:`push_later`.

    Args:
        serve: Serves a request.
        left: Called once, when either side has closed it.
        clock: Bounds requests.
        token: The fencing token of the link.
        holder: The holder of the token.
    """

    def __init__(
        self, serve: Serve, left: Callable[[], None], clock: Clock, *, token: int, holder: str
    ) -> None:
        self.token = token
        self.holder = holder
        self.last_received_at = clock.now()
        self.behind_s = 0.0
        """How long messages wait for their reader."""
        self.waits_since: float | None = None
        """When a message came that waits for its reader."""
        self._serve = serve
        self._left = left
        self._clock = clock
        self._later: list[LinkEvent] = []
        self._muted = False
        self.is_full = False
        """Whether sending takes time, so that :meth:`send` sends nothing."""
        self.fault: Exception | None = None
        """What :meth:`send` raises."""
        self.holds: Callable[[LinkRequest], bool] = lambda _: False
        """Requests that wait until :meth:`serve_held`."""
        self._held: list[tuple[LinkRequest, Waiting]] = []
        self._inbox: deque[Callable[[], LinkEvent | None]] = deque()
        self._came = asyncio.Event()
        self._silence: asyncio.Future[None] | None = None
        self.pending: set[Waiting] = set()
        """Requests without an answer."""
        self._closed: LinkClosed | None = None

    @property
    def open(self) -> bool:
        return self._closed is None

    @property
    def has_message(self) -> bool:
        """Whether :meth:`receive` would return at once."""
        return bool(self._inbox) and not self._muted

    def arrival(self, on_readings: OnReadings) -> asyncio.Future[None] | None:
        """Return what is done when :meth:`receive` has something to process, readings too; None: it has."""
        if self.has_message or (self._closed is not None and not self._inbox):
            return None
        self._silence = asyncio.get_running_loop().create_future()
        return self._silence

    async def receive(self, on_readings: OnReadings | None = None) -> LinkEvent | None:
        """Return the next event, or None for an answer; readings during the wait go to *on_readings*."""
        while True:
            has_waited = await self._arrival()
            self.last_received_at = self._clock.now() - self.behind_s
            event = self._inbox.popleft()()
            if on_readings is None or not (has_waited and isinstance(event, Reading)):
                return event
            on_readings((event,))

    async def _arrival(self) -> bool:
        """Wait until there is something to receive; return whether that took time."""
        has_waited = False
        while self._muted or not self._inbox:
            if self._closed is not None and not self._inbox:
                self._abandon()
                raise LinkClosed(self._closed.reason)
            self._came.clear()
            has_waited = True
            await self._came.wait()
        return has_waited

    def _wake(self) -> None:
        self._came.set()
        if self._silence is not None:
            resolve(self._silence, None)

    async def request(self, request: LinkRequest) -> LinkAnswer:
        """Have the centre serve *request*; wait until :meth:`receive` has read its answer."""
        if self._closed is not None:
            raise LinkClosed(self._closed.reason, is_unsent=True)
        answer: asyncio.Future[Received] = asyncio.get_running_loop().create_future()
        try:
            async with self._patience(request):
                self.take(request, answer)
                received = await answer
        except TimeoutError:
            raise GatewayError(ErrorCode.UPSTREAM_UNAVAILABLE, "the OSCC-E Server did not answer") from None
        finally:
            self.pending.discard(answer)
        if isinstance(received, GatewayError | LinkClosed):
            raise received
        return received

    def send(self, request: LinkRequest, answered: OnAnswer) -> Callable[[], object] | None:
        """Have the centre serve *request*; *answered* is called when :meth:`receive` has read its answer."""
        if self.fault is not None:
            raise self.fault
        if self._closed is not None or self.is_full:
            return None
        answer = Prompt(answered)
        self.take(request, answer)
        return answer.cancel

    def _patience(self, request: LinkRequest) -> AbstractAsyncContextManager[object]:
        if isinstance(request, Execute):
            return nullcontext()
        reports = isinstance(request, AttachSession | Listen | QueryDirectory)
        return self._clock.timeout(PATIENCE_S if reports else REQUEST_S)

    async def close(self) -> None:
        self.finish("lost", discard=True)

    def take(self, request: LinkRequest, answer: Waiting) -> None:
        """Have the centre serve *request* now; *answer* is called when :meth:`receive` has read it."""
        if self._closed is not None:
            _tell(answer, LinkClosed(self._closed.reason))
            return
        self.pending = {each for each in self.pending if not each.done()} | {answer}
        if self.holds(request):
            self._held.append((request, answer))
        else:
            self._have_served(request, answer)

    def serve_held(self) -> None:
        """Serve the delayed requests, and delay none from now on."""
        self.holds = lambda _: False
        held, self._held = self._held, []
        for request, answer in held:
            self._have_served(request, answer)

    def push(self, event: LinkEvent) -> None:
        """Send *event*; it is dropped when the link is closed."""
        if self._closed is None:
            self._put(lambda: event)

    def push_later(self, event: LinkEvent) -> None:
        """Send *event* after the answer that is being made."""
        self._later.append(event)

    def mute(self) -> None:
        """Hold back all messages of the server."""
        self._muted = True

    def unmute(self) -> None:
        """Send the messages that were held back, and hold back none."""
        self._muted = False
        self._wake()

    def finish(self, reason: Literal["session_unknown", "lost"] = "lost", *, discard: bool = False) -> None:
        """End it: after the messages sent so far, or at once."""
        if discard:
            self._inbox.clear()
        if self._closed is None:
            self._closed = LinkClosed(reason)
            self._left()
        if discard:
            self._abandon()
        self._muted = False
        self._wake()

    def _have_served(self, request: LinkRequest, answer: Waiting) -> None:
        received: Received
        try:
            received = self._serve(request)
        except GatewayError as error:
            received = error
        self._put(lambda: _tell(answer, received))
        for event in self._later:
            self.push(event)
        self._later.clear()

    def _abandon(self) -> None:
        for answer in tuple(self.pending):
            _tell(answer, LinkClosed("lost"))

    def _put(self, item: Callable[[], LinkEvent | None]) -> None:
        self._inbox.append(item)
        self._wake()


def _tell(answer: Waiting, received: Received) -> None:
    if not answer.done():
        answer.set_result(received)
