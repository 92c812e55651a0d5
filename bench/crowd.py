"""Thousands of phones: their sessions, and the first frame of each."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from bench import centre_frames
from bench.gateway_node import Node
from bench.layout import Layout
from bench.machine import LOAD_CORE, free_port
from bench.programs import BenchError, Program, running

TRIES = 60
"""The most attempts at one log-on while the gateway answers 429."""
LOG_ONS_AT_ONCE = 64
PATH = "/v1/realtime"
SUBPROTOCOL = "oscc.v1.json"
READY = '"kind":"changes"'
"""Text of the frame that brings a phone in sync."""


class Centre:
    """Running OSCC-E Server of a benchmark."""

    def __init__(self, program: Program, port: int, door: int, layout: Layout) -> None:
        self.program = program
        self.port = port
        self.door = door
        self.layout = layout

    async def ask(self, word: str) -> tuple[int, int]:
        """Send *word* to the publisher's port; returns the numbers of links and published elements."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.door)
        writer.write(word.encode() + b"\n")
        links, published = (await reader.readline()).split()
        writer.close()
        return int(links), int(published)

    async def publish(self, resource_set: int, size: int) -> None:
        """Change *size* resources of a set once."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.door)
        writer.write(b"%d 1 1 %d\n" % (resource_set, size))
        await writer.drain()
        writer.close()


@asynccontextmanager
async def centre(layout: Layout, folder: Path) -> AsyncIterator[Centre]:
    """Run an OSCC-E Server while the block lasts."""
    port, door = free_port(), free_port()
    words = (port, door, layout.users, layout.queues, layout.agents, "shared" if layout.shared else "private")
    command = (sys.executable, "-m", "bench.centre", *(str(word) for word in words))
    async with running("centre", command, LOAD_CORE, folder) as program:
        await program.until_listening(door)
        yield Centre(program, port, door, layout)


def write_hellos(file: Path, tokens: Sequence[str], positions: Sequence[tuple[str, int]] = ()) -> Path:
    """Write one hello frame per phone and line, with the phone's position where there is one."""
    with file.open("w", encoding="ascii") as lines:
        for number, token in enumerate(tokens):
            position = positions[number] if number < len(positions) else None
            lines.write(hello(token, position) + "\n")
    return file


def hello(token: str, position: tuple[str, int] | None = None) -> str:
    """Return a hello frame."""
    frame: dict[str, object] = {
        "kind": "hello",
        "token": token,
        "topics": ["agents", "queues"],
        "ping_s": 55,
        "client": {"app": "bench", "version": "1.0", "platform": "test"},
    }
    if position is not None and position[0]:
        frame["position"] = {"stream": position[0], "seq": position[1]}
    return json.dumps(frame, separators=(",", ":"))


def text_of(file: Path) -> str:
    """Return the text of *file*."""
    return file.read_text("ascii")


def read_positions(text: str) -> list[tuple[str, int]]:
    """Read the positions that a load generator saved."""
    found = (line.split("\t") for line in text.splitlines())
    return [(stream, int(seq)) for stream, seq in found]


async def log_on(door: Node, phones: range, users: int) -> list[str]:
    """Log *phones* on at a node; returns their tokens, valid at every node with the same keys.

    Raises:
        BenchError: A log-on was refused.
    """
    tokens: dict[int, str] = {}
    # log-ons under way count as attempts at the user's password, so each user has one at a time
    waiting = iter([phones[first::users] for first in range(min(users, len(phones)))])
    url = f"http://127.0.0.1:{door.port}/v1/sessions"

    async def one_after_the_other(http: aiohttp.ClientSession) -> None:
        for of_a_user in waiting:
            for number in of_a_user:
                tokens[number] = await _token(http, url, number, users)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http, asyncio.TaskGroup() as tasks:
        for _ in range(LOG_ONS_AT_ONCE):
            tasks.create_task(one_after_the_other(http))
    return [tokens[number] for number in phones]


async def _token(http: aiohttp.ClientSession, url: str, phone: int, users: int) -> str:
    """Log one phone on, with retries after 429; returns its token."""
    said = ""
    for _ in range(TRIES):
        async with http.post(url, json=log_on_body(phone % users, phone)) as answer:
            if answer.status == 201:
                return str((await answer.json())["token"])
            said = await answer.text()
            if answer.status != 429:
                break
        await asyncio.sleep(float(answer.headers.get("Retry-After", "1")))
    raise BenchError(f"log-on {phone} was refused: {said}")


def log_on_body(user: int, phone: int) -> dict[str, object]:
    """Return the body of a log-on; each phone has its own name, as log-ons per name are limited."""
    device = {"id": f"device{phone}", "name": "Phone", "platform": "test", "app_version": "1.0"}
    return {
        "site": "main",
        "application": "dashboard",
        "user_name": f"user{user}.{phone}",
        "password": "a password",
        "device": device,
    }


@asynccontextmanager
async def flooding(door: int, per_s: float | None) -> AsyncIterator[None]:
    """Flood the first user's link while the block lasts; does nothing when *per_s* is None."""
    if per_s is None:
        yield
        return
    _, writer = await asyncio.open_connection("127.0.0.1", door)
    writer.write(b"flood %d\n" % per_s)
    try:
        yield
    finally:
        writer.close()


def phone_options(hellos: Path) -> tuple[str, ...]:
    """Return the load generator's options for phones of the gateway."""
    return (
        *("--subproto", SUBPROTOCOL, "--lines", str(hellos), "--send", "%k", "--pong"),
        *("--ready", READY, "--stamp", centre_frames.STAMP),
    )


def publisher_options(door: int) -> tuple[str, ...]:
    """Return the load generator's options for publishing through the OSCC-E Server."""
    return ("--pub-tcp", f"127.0.0.1:{door}", "--pub", r"%m %S %T %Z\n")
