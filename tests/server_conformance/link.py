"""One link of the kit, and what no server may send on it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

from aiohttp import ClientWebSocketResponse, WSMessage, WSMsgType

from tests.server_conformance import shapes
from tests.server_conformance.errors import CODES
from tests.server_conformance.verdicts import Failed, Sentence, expect

Message = dict[str, Any]
Test = Callable[[Message], bool]

FIRST: Final = Sentence("Messages", '**Server first**: `{"Type":"LinkOpened"')
FRAMES: Final = Sentence("Conventions", "Messages are JSON in text frames of at most 8 MiB, UTF-8.")
MILLIS: Final = Sentence(
    "Conventions",
    "Times (`Time`, `…At`, `Since`) are milliseconds since 1970 UTC; `TimeIn…` and `…WaitTime` are seconds",
)
RESPONSES: Final = Sentence(
    "Messages", '→ **responses** `{"Type":"Response","RequestID":int,"Error":0|code,"ErrorName"?:str,…}`.'
)
ANSWER_BEFORE_EVENTS: Final = Sentence("Events", "A response to `ListenForEvents` precedes its first event.")
REPLACED: Final = Sentence("The link", 'the old link gets `{"Type":"LinkReplaced","Token"}` and close 4409.')
ONLY_ALL: Final = Sentence("Events", 'Keys `"All"`, no first event, no `Removed`.')
YEAR_2001_MS: Final = 10**12


class Answer(NamedTuple):
    """A response, and where it stands in what the link said."""

    error: int
    name: str | None
    body: Message
    asked_at: int
    """So many messages had come when it was asked."""
    at: int
    """So many messages had come before the response."""

    @property
    def said(self) -> str:
        """What the server did, in words."""
        return "done" if self.error == 0 else f"answered {self.error} {self.name}"


class Link:
    """One link; everything that the server says on it is kept, and looked at as it comes.

    Args:
        socket: The open WebSocket.
        patience_s: So long the server may take for what it does at once.
    """

    def __init__(self, socket: ClientWebSocketResponse, patience_s: float) -> None:
        self.messages: list[Message] = []
        """All that came, oldest first."""
        self.closed_with: int | None = None
        """The code of the close; 0: the connection ended without one."""
        self.faults: list[Failed] = []
        """What breaks a sentence that holds for all links."""
        self.silent = False
        """Whether even pings of the server are left without an answer."""
        self._socket: Final = socket
        self._patience_s = patience_s
        self._asked: dict[int, str] = {}
        self._answered: set[int] = set()
        self._queries: set[int] = set()
        self._came = asyncio.Condition()

    # ---- what comes ----

    async def read(self) -> None:
        """Take in what comes until the link is closed."""
        try:
            async for received in self._socket:
                async with self._came:
                    if received.type is WSMsgType.TEXT:
                        self._take(received.data)
                    elif received.type is WSMsgType.PING:
                        await self._pong(received.data)
                    elif received.type is not WSMsgType.PONG:
                        self.faults.append(Failed(_other_frame(received), FRAMES))
                    self._came.notify_all()
        finally:
            with suppress(asyncio.CancelledError):
                async with self._came:
                    self.closed_with = self._socket.close_code or 0
                    self._came.notify_all()

    async def _pong(self, data: bytes) -> None:
        if not self.silent:
            with suppress(ConnectionError):
                await self._socket.pong(data)

    def _take(self, text: str) -> None:
        try:
            message = shapes.read_json(text)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self.faults.append(Failed(f"this is no JSON object: {text[:100]!r}", FRAMES))
            return
        try:
            self._look(message)
        except Failed as failed:
            self.faults.append(failed)
        self.messages.append(message)

    def _look(self, message: Message) -> None:
        kind = message.get("Type")
        expect(bool(self.messages) or kind == "LinkOpened", f"the first message is a {kind}", FIRST)
        replaced = any(each.get("Type") == "LinkReplaced" for each in self.messages)
        expect(not replaced, f"a {kind} follows LinkReplaced", REPLACED)
        fault = shapes.message_fault(message)
        expect(fault is None, str(fault), shapes.TYPES)
        if kind not in shapes.MESSAGES:
            return
        time = message.get("Time")
        expect(time is None or time > YEAR_2001_MS, f"the Time of a {kind} is {time}", MILLIS)
        if kind == "Response":
            self._look_at_response(message)
        elif kind == "Event":
            query = message["QueryID"]
            expect(
                query in self._queries,
                f"an event of query {query}, which no answer reported",
                ANSWER_BEFORE_EVENTS,
            )
            odd = message["EventType"] in ("Configuration", "Administration") and message.get("Removed")
            expect(not odd, f"an event of type {message['EventType']} with Removed", ONLY_ALL)

    def _look_at_response(self, message: Message) -> None:
        number, error, name = message["RequestID"], message.get("Error", 0), message.get("ErrorName")
        method = self._asked.get(number)
        expect(method is not None, f"a response to request {number}, which was not sent", RESPONSES)
        expect(number not in self._answered, f"a second response to request {number}", RESPONSES)
        self._answered.add(number)
        fits = (
            CODES.get(error) == name
            if error and name and (error in CODES or name in CODES.values())
            else True
        )
        expect(fits, f"error {error} is named {name}", Sentence("Error names", "| code | name | details |"))
        fault = shapes.answer_fault(str(method), message)
        expect(fault is None, f"the response to {method}: {fault}", shapes.TYPES)
        if method == "ListenForEvents" and not error:
            self._queries.add(message["QueryID"])

    def stopped(self, query: int) -> None:
        """Note that events of *query* must not come any longer."""
        self._queries.discard(query)

    async def received(
        self, test: Test, what: str, *, after: int = 0, within_s: float | None = None
    ) -> Message:
        """Return the first message that came after so many others and passes *test*, as soon as it is there.

        Raises:
            Failed: None came in time; *what* says what was awaited.
        """

        def found() -> Message | None:
            return next((each for each in self.messages[after:] if test(each)), None)

        try:
            async with asyncio.timeout(within_s or self._patience_s), self._came:
                await self._came.wait_for(lambda: found() is not None or self.closed_with is not None)
        except TimeoutError:
            raise Failed(f"{what} does not come") from None
        message = found()
        if message is None:
            raise Failed(f"the link is closed ({self.closed_with}) before {what} comes")
        return message

    async def ended(self, within_s: float | None = None, cause: str = "") -> int:
        """Return the code with which the server closes the link, for *cause*.

        Raises:
            Failed: It does not, in time.
        """
        try:
            async with asyncio.timeout(within_s or self._patience_s), self._came:
                await self._came.wait_for(lambda: self.closed_with is not None)
        except TimeoutError:
            raise Failed(f"the server does not close the link{cause and f' after {cause}'}") from None
        return self.closed_with or 0

    # ---- what the kit says ----

    async def ask(self, method: str, **fields: object) -> Answer:
        """Send a request and return its response, whatever it says.

        Raises:
            Failed: It is not answered.
        """
        number, asked_at = await self.send(method, **fields)
        return await self.answer(number, method, asked_at)

    async def send(self, method: str, **fields: object) -> tuple[int, int]:
        """Send a request; returns its number, and how many messages had come before."""
        number = len(self._asked) + 1
        self._asked[number] = method
        asked_at = len(self.messages)
        await self.say({"Type": "Request", "RequestID": number, "Method": method, **fields})
        return number, asked_at

    async def answer(self, number: int, method: str, asked_at: int) -> Answer:
        """Return the response to a request that was sent."""
        of = _response(number)
        body = await self.received(of, f"the response to {method}", after=asked_at)
        at = next(index for index, each in enumerate(self.messages) if each is body)
        return Answer(body.get("Error", 0), body.get("ErrorName"), body, asked_at, at)

    async def done(self, method: str, state: str | None = None, /, **fields: object) -> Answer:
        """Send a request and return its response, which is no error, and has this *state*.

        Raises:
            Failed: It is one, or has another.
        """
        answer = await self.ask(method, **fields)
        expect(answer.error == 0, f"{method} is {answer.said}")
        received = answer.body.get("State")
        expect(state is None or received == state, f"State is {received}, not {state}")
        return answer

    async def refused(self, code: int, method: str, **fields: object) -> Answer:
        """Send a request that must be refused with *code*."""
        answer = await self.ask(method, **fields)
        expect(answer.error == code, f"{method} is {answer.said}, not {code} {CODES[code]}")
        return answer

    async def say(self, message: Mapping[str, object] | str) -> None:
        """Send a message, or any text."""
        text = message if isinstance(message, str) else json.dumps(message)
        try:
            await self._socket.send_str(text)
        except ConnectionError:
            raise Failed(f"the link is closed ({self.closed_with})") from None

    async def say_if_open(self, method: str, **fields: object) -> None:
        """Send a request on a link that may be closed already; its response is not waited for."""
        with suppress(Failed):
            await self.send(method, **fields)

    async def close(self) -> None:
        await self._socket.close()

    # ---- what is asked of many a link ----

    @property
    def protocol(self) -> str | None:
        """The subprotocol that the server agreed to."""
        return self._socket.protocol

    @property
    def opened(self) -> Message:
        """The first message."""
        return self.messages[0]

    @property
    def alias(self) -> int:
        """The session that opened the link."""
        return int(self.opened["Session"]["Session"])

    async def listen(self, event_type: str, keys: object = "All") -> tuple[int, Message]:
        """Listen; returns the query and its first event."""
        answer = await self.done("ListenForEvents", EventType=event_type, Keys=keys)
        query = int(answer.body["QueryID"])
        return query, await self.received(
            of_query(query), f"the first event of {event_type}", after=answer.at
        )

    def between(self, answer: Answer, test: Test) -> list[Message]:
        """Return what came between a request and its response."""
        return [each for each in self.messages[answer.asked_at : answer.at] if test(each)]

    async def settle(self) -> int:
        """Return how many messages have come once the server has answered all that was sent before."""
        return (await self.done("KeepAlive")).at


def _other_frame(received: WSMessage) -> str:
    """Return what came instead of a text frame."""
    if received.type is WSMsgType.ERROR:
        return f"a frame that RFC 6455 does not allow: {received.data}"
    return f"a frame of type {received.type.name}"


def _response(number: int) -> Test:
    return lambda each: each.get("Type") == "Response" and each.get("RequestID") == number


def of_query(query: int) -> Test:
    """Tell events of a query."""
    return lambda each: each.get("Type") == "Event" and each.get("QueryID") == query


def of_type(kind: str, **fields: object) -> Test:
    """Tell messages of a type, with these fields."""
    return lambda each: (
        each.get("Type") == kind and all(each.get(name) == value for name, value in fields.items())
    )


def element(query: int, key_name: str, key: int, test: Callable[[Message], bool] = lambda _: True) -> Test:
    """Tell events of a query with an element of *key* that passes *test*."""

    def fits(each: Message) -> bool:
        return of_query(query)(each) and any(
            one.get(key_name) == key and test(one) for one in each.get("Elements", ())
        )

    return fits
