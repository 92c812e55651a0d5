"""Messages between the kit and the program that drives the client under test.

A driver reads one JSON object a line and writes one a line: docs/clients.md has all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
from types import TracebackType
from typing import Any, Final, Self

from tests.conformance.timing import Failed

ANSWER_S: Final = 20.0
"""Real seconds that a driver may take to answer what is done at once."""
_LINE_MAX: Final = 16 * 1024 * 1024


class DriverLost(Exception):  # noqa: N818 - names what happened
    """The driver ended, or speaks something else."""


class Refusal(Exception):  # noqa: N818 - names what happened
    """What was asked of the client was refused, with the error that it reported.

    Attributes:
        code: As on the page.
        error: All that the driver said: `code`, `retry_after_s`, `details`.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("code")))
        self.code: Final = error.get("code")
        self.error: Final = error


class Driver:
    """A running driver; an async context manager that ends its process.

    Args:
        command: As a shell has it, without a shell.
    """

    def __init__(self, command: str) -> None:
        self.name = command
        self.features: frozenset[str] = frozenset()
        self.events: list[dict[str, Any]] = []
        """All that the present client reported, oldest first."""
        self._command = shlex.split(command)
        self._tasks = asyncio.TaskGroup()
        self._process: asyncio.subprocess.Process | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._count = 0
        self._received = asyncio.Condition()
        self._ready = asyncio.Event()
        """Set once it said so, or has ended."""
        self.lost = False

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_MAX,
        )
        self._tasks.create_task(self._read())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await self._ready.wait()
        if self.lost or not self._ready.is_set():
            await self.__aexit__(None, None, None)
            raise DriverLost(f"{self.name} does not say that it is ready")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        await self._tasks.__aexit__(None, None, None)

    def begin(self, do: str, **said: object) -> asyncio.Future[dict[str, Any]]:
        """Ask for something; returns what will have its answer, or raise :class:`Refusal`."""
        self._count += 1
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        # an answer that no check waits for any more is no fault of anybody
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self.lost or self._process is None or self._process.stdin is None:
            future.set_exception(DriverLost(f"{self.name} has ended"))
            return future
        self._answers[self._count] = future
        line = json.dumps({"id": self._count, "do": do, **said})
        self._process.stdin.write(line.encode() + b"\n")
        return future

    async def ask(self, do: str, **said: object) -> dict[str, Any]:
        """Ask for something that is done at once; returns the answer.

        Raises:
            Refusal: The client refused.
            Failed: It does not answer.
        """
        return await self.answered(self.begin(do, **said), do)

    async def answered(self, future: asyncio.Future[dict[str, Any]], what: str) -> dict[str, Any]:
        """Return an answer.

        Raises:
            Refusal: The client refused.
            Failed: It does not come.
        """
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asyncio.shield(future)
        except TimeoutError:
            raise Failed(f"{what!r} is not answered") from None

    async def event(self, name: str, count: int = 1, within_s: float = 8.0) -> dict[str, Any]:
        """Return the *count*-th event *name* since the client's start as soon as it was reported.

        Raises:
            Failed: It was not, within so many real seconds.
        """
        try:
            async with asyncio.timeout(within_s), self._received:
                await self._received.wait_for(lambda: self.lost or len(self.received(name)) >= count)
        except TimeoutError:
            raise Failed(f"the client does not tell {name!r} ({count})") from None
        if self.lost:
            raise DriverLost(f"{self.name} has ended")
        return self.received(name)[count - 1]

    def received(self, name: str) -> list[dict[str, Any]]:
        """Return all events *name* since the client's start."""
        return [event for event in self.events if event["event"] == name]

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async for line in self._process.stdout:
                await self._take(json.loads(line))
        except ValueError:
            pass  # no JSON, or no end of line: it speaks something else
        finally:
            self.lost = True
            self._ready.set()
            for future in self._answers.values():
                future.set_exception(DriverLost(f"{self.name} has ended"))
            self._answers.clear()
            async with self._received:
                self._received.notify_all()

    async def _take(self, said: dict[str, Any]) -> None:
        if said.get("event") == "ready":
            self.name = said.get("name", self.name)
            self.features = frozenset(said.get("features", ()))
            self._ready.set()
        elif "event" in said:
            self.events.append(said)
            async with self._received:
                self._received.notify_all()
        elif (future := self._answers.pop(said["id"], None)) and not future.done():
            if "error" in said:
                future.set_exception(Refusal(said["error"]))
            else:
                future.set_result(said.get("ok") or {})
