"""Each recording as bytes on a socket: connection, monitor and link show what the messages alone lead to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from secrets import token_bytes
from typing import cast

import pytest

from gateway.domain.model import Kind
from gateway.domain.upstream import Source
from gateway.upstream.asterisk import AsteriskServer, AsteriskSettings
from gateway.upstream.asterisk.ami import AmiAddress, AmiMessage
from gateway.upstream.asterisk.monitor import Timing
from gateway.upstream.asterisk.people import AsteriskView, Rules, read_people
from gateway.upstream.asterisk.state import Queues
from tests.asterisk import recordings
from tests.asterisk.site import PEOPLE, Ear, Place
from tests.asterisk.test_fake_against_recordings import furnished
from tests.doubles.clock import ManualClock
from tests.doubles.fake_ami import FakeAsterisk

NEVER_S = 1e6
MAY = ("ListCommands", "Ping", "QueueStatus", "QueuePause")
Rows = list[AmiMessage]


def text(message: AmiMessage) -> bytes:
    return ("".join(f"{name}: {value}\r\n" for name, value in message.items()) + "\r\n").encode()


def acts(name: str) -> Iterator[bytes | Rows | None]:
    """Yield what came: an event's bytes, the rows of a whole reading, None for the end of a connection."""
    wholes: dict[str, Rows] = {}
    is_first = True
    for line in recordings.read(name):
        said, number = line.headers, line.headers.get("ActionID", "")
        if said.get("Action") == "QueueStatus" and not said.keys() & {"Queue", "Member"}:
            wholes[number] = []
        elif line.raw.startswith(b"Asterisk Call Manager"):
            wholes.clear()
            if not is_first:
                yield None
            is_first = False
        elif number in wholes and said.get("Event") == "QueueStatusComplete":
            yield wholes.pop(number)
        elif "Event" in said and number in wholes:
            wholes[number].append(said)
        elif said.get("Event", "FullyBooted") != "FullyBooted" and not number:  # it would have all read again
            yield line.raw


class Player:
    """An Asterisk that plays a recording: rows and events are recorded, all other answers are the least."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.port = 0
        self._writer: asyncio.StreamWriter | None = None

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def play(self, raw: bytes) -> None:
        """Send an event in two pieces."""
        assert self._writer is not None
        for piece in (raw[: len(raw) // 2], raw[len(raw) // 2 :]):
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0)

    def cut(self) -> None:
        """End the connection."""
        assert self._writer is not None
        self._writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        writer.write(b"Asterisk Call Manager/13.0.0\r\n")
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
                asked = dict(line.split(": ", 1) for line in lines)
                number = {"ActionID": asked["ActionID"]}
                if asked["Action"] == "QueueStatus" and "Queue" not in asked:
                    start = {"Response": "Success", **number, "EventList": "start"}
                    end = {"Event": "QueueStatusComplete", **number, "EventList": "Complete"}
                    writer.write(
                        b"".join(text(one) for one in (start, *({**r, **number} for r in self.rows), end))
                    )
                elif asked["Action"] == "QueueStatus":
                    writer.write(text({"Response": "Error", **number, "Message": "no figures were recorded"}))
                else:
                    writer.write(text({"Response": "Success", **number, **dict.fromkeys(MAY, "")}))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def rows_before(name: str, found: list[bytes | Rows | None]) -> Rows:
    """Return the rows of the first reading: the recording's own, or what others have left there."""
    if found and isinstance(found[0], list):
        return found[0]
    fake = furnished(name)
    return [{"Event": kind, **dict(headers)} for one in fake.queues for kind, headers in fake.rows_of(one)]


class Alone:
    """The state that messages lead to, without a connection."""

    def __init__(self, now_ms: int) -> None:
        self.queues = Queues()
        self._now_ms = now_ms

    def read(self, rows: Rows) -> None:
        reading = self.queues.begin(with_members=True)
        for row in rows:
            reading.row(row, self._now_ms)
        reading.end()

    def shown(self, people: Path, now_ms: int) -> dict[tuple[Kind, Source, int], object]:
        """Return what phones of users who see everything show of it."""
        self.queues.due(now_ms)
        view = AsteriskView(self.queues, Rules())
        view.people = read_people(people, "oscc-remote")
        view.index()
        agents = {*view.interfaces, *view.people.by_number}
        parts = [part for agent in agents for part in view.agent_parts(agent, now_ms)]
        parts += [part for name in self.queues.queues for part in view.queue_parts(name, now_ms)]
        kept = [one for one in parts if one is not None and one.source is Source.REALTIME]
        return {(one.kind, one.source, one.number): one.value for one in kept}


def shown_to(ear: Ear) -> dict[tuple[Kind, Source, int], object]:
    """Return the realtime values that a link was sent."""
    return {
        (kind, Source.REALTIME, number): part.value
        for kind in (Kind.AGENT, Kind.QUEUE)
        for number, part in ear.shown(kind, Source.REALTIME).items()
    }


@pytest.mark.parametrize("name", recordings.NAMES)
async def test_a_recording_on_a_socket_leads_to_what_its_messages_lead_to(name: str, tmp_path: Path) -> None:
    clock, found = ManualClock(), list(acts(name))
    player, alone = Player(rows_before(name, found)), Alone(clock.wall_ms())
    people = tmp_path / "people.toml"
    people.write_text(PEOPLE, "utf-8")
    listening = await player.start()
    address = AmiAddress("127.0.0.1", player.port, "oscc", "secret")
    settings = AsteriskSettings(address, people, timing=Timing(NEVER_S, NEVER_S), is_alone=True)
    async with (
        asyncio.timeout(20),
        AsteriskServer("main", settings, clock, jitter=lambda: 0.0, draw=token_bytes) as server,
    ):
        place, monitor = Place(cast(FakeAsterisk, player), server, clock, people), server.monitor
        assert await server.reached()
        alone.read(player.rows)
        async with place.linked(await place.boss()) as ear:
            for act in found:
                if isinstance(act, bytes):
                    await player.play(act)
                    headers = dict(line.split(": ", 1) for line in act.decode().splitlines() if ": " in line)
                    alone.queues.event(headers, clock.wall_ms())
                    continue
                if act is None:
                    player.cut()
                    before = monitor.connections
                    while monitor.connections == before:
                        await clock.advance(0.3)
                    alone.queues.forget_contacts()
                else:
                    player.rows = act
                    await monitor.read_queues()
                alone.read(player.rows)
            await monitor.action("Ping")  # its answer comes behind all events
            await clock.advance(2)
            shown = shown_to(ear)
            assert shown == alone.shown(people, clock.wall_ms())
            assert shown
    listening.close()
