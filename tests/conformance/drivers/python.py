"""Driver of the Python SDK for the kit. See docs/clients.md for the lines that it reads and writes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Final

from pydantic import TypeAdapter

from gateway import client as sdk
from gateway.client.http import MACHINE_CLOCK, jitter
from gateway.domain.commands import Command
from gateway.protocol import codec
from gateway.protocol.frames import ErrorFrame

_COMMAND: Final[TypeAdapter[Command]] = TypeAdapter(Command)
_FEATURES: Final = ["time_scale", "chance", "msgpack", "upgrade_status"]


class FastClock:
    """The machine's clock, *scale* times as fast."""

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def now(self) -> float:
        return MACHINE_CLOCK.now() * self._scale

    async def sleep(self, seconds: float) -> None:
        await MACHINE_CLOCK.sleep(seconds / self._scale)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        return MACHINE_CLOCK.timeout(seconds / self._scale)


def say(said: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def error_view(error: sdk.GatewayError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"code": error.code.value, "retry_after_s": error.retry_after_s, "details": error.details}


def outcome_view(outcome: sdk.Outcome) -> dict[str, Any]:
    view = {"status": outcome.status.value, "error": error_view(outcome.error), "version": outcome.version}
    return {"outcome": view}


def event_view(event: sdk.Event) -> dict[str, Any] | None:
    """Return what the kit wants to know of an event."""
    match event:
        case sdk.Connected(resumed):
            return {"event": "connected", "resumed": resumed}
        case sdk.Ended(code, reason, by):
            return {"event": "ended", "code": code, "reason": reason, "by": by}
        case sdk.HealthChanged(upstream, bus, as_of_ms):
            return {"event": "health", "upstream": upstream, "bus": bus, "as_of_ms": as_of_ms}
        case sdk.NoticeShown(notice):
            return {"event": "notice", "notice": codec.plain_fields(notice)}
        case sdk.Refused(ErrorFrame() as error):
            return {"event": "refused", "code": error.code}
        case sdk.Renewed(expires_at_ms):
            return {"event": "renewed", "expires_at_ms": expires_at_ms}
        case sdk.LogOffPending(routed_until_ms):
            return {"event": "log_off_pending", "routed_until_ms": routed_until_ms}
        case _:
            return None


class Driven:
    """One client, and what the kit may ask of it: a method per `do`."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        scale, chance = said.get("time_scale"), said.get("chance")
        stored = said.get("credentials")

        async def credentials() -> sdk.Credentials | None:
            return sdk.Credentials(stored["user"], stored["password"]) if stored else None

        topics = said.get("topics")
        self.client = sdk.GatewayClient(
            said["base"],
            wishes=sdk.Wishes(
                topics=None if topics is None else tuple(topics),
                pace_s=said.get("pace_s"),
                ping_s=said.get("ping_s"),
            ),
            codec=sdk.MSGPACK if said.get("codec") == "msgpack" else sdk.JSON,
            credentials=credentials if stored else None,
            clock=MACHINE_CLOCK if scale is None else FastClock(scale),
            chance=jitter if chance is None else lambda: chance,
        )
        self._tasks: asyncio.TaskGroup | None = None

    async def watch(self) -> None:
        async for event in self.client.events():
            if view := event_view(event):
                say(view)

    # ---- what the kit asks ----

    async def log_on(self, said: Mapping[str, Any]) -> dict[str, Any]:
        device = said["device"]
        created = await self.client.log_on(
            site=said["site"],
            application=sdk.Application(said["application"]),
            user_name=said["user"],
            password=said["password"],
            device=sdk.DeviceBody(device["id"], device["name"], "linux", "1.0"),
            remote_number=said.get("remote_number"),
            takeover=said.get("takeover", False),
            accepted_notices=[
                (notice["id"], notice["version"]) for notice in said.get("accepted_notices") or ()
            ],
        )
        return {"session_id": created.session.id, "remote_number": created.remote_number}

    async def run(self, _said: Mapping[str, Any]) -> None:
        await self.client.run()

    async def snapshot(self, _said: Mapping[str, Any]) -> dict[str, Any]:
        position = self.client.mirror.position
        return {
            "mirror": {key: dict(value) for key, value in self.client.mirror.items()},
            "position": position and {"stream": position.stream, "seq": position.seq},
        }

    async def command(self, said: Mapping[str, Any]) -> dict[str, Any]:
        command = _COMMAND.validate_python({"kind": said["kind"], **said["args"]})
        return outcome_view(await self.client.command(command, deadline_s=said["deadline_s"]))

    async def follow(self, said: Mapping[str, Any]) -> dict[str, Any]:
        topics = await self.client.follow(said["topics"])
        refused = [{"topic": refusal.topic, "reason": refusal.reason} for refusal in topics.refused]
        return {"granted": list(topics.granted), "refused": refused}

    async def pace(self, said: Mapping[str, Any]) -> None:
        await self.client.pace(said["every_s"])

    async def acknowledge(self, said: Mapping[str, Any]) -> dict[str, Any]:
        notice = said["notice"]
        self.client.acknowledge(notice["id"], notice["version"])
        return outcome_view(
            await self.client.command(
                sdk.AcknowledgeNotice(notice_id=notice["id"], version=notice["version"])
            )
        )

    async def background(self, _said: Mapping[str, Any]) -> None:
        self.client.background()

    async def foreground(self, _said: Mapping[str, Any]) -> None:
        self.client.foreground()

    async def network_changed(self, _said: Mapping[str, Any]) -> None:
        self.client.network_changed()

    async def log_off(self, _said: Mapping[str, Any]) -> None:
        await self.client.log_off()

    async def about(self, _said: Mapping[str, Any]) -> dict[str, Any]:
        about = await self.client.about()
        return {"name": about.name, "version": about.version}

    async def notices(self, said: Mapping[str, Any]) -> dict[str, Any]:
        notices = await self.client.notices(said.get("language"))
        return {"notices": [{"id": notice.id, "version": notice.version} for notice in notices]}

    async def who(self, _said: Mapping[str, Any]) -> dict[str, Any]:
        who = await self.client.who()
        return {"session": {"id": who.session.id}}

    async def sessions(self, _said: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "sessions": [{"id": entry.id, "current": entry.current} for entry in await self.client.sessions()]
        }

    async def end_session(self, said: Mapping[str, Any]) -> dict[str, Any]:
        pending = await self.client.end_session(said["session_id"])
        return {"routed_until_ms": None if pending is None else pending.routed_until_ms}


class Desk:
    """Answers the kit's lines; each `start` puts a new client in the place of the one before."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._driven: Driven | None = None
        self._life: AsyncExitStack | None = None

    async def serve(self, said: dict[str, Any]) -> None:
        """Do what a line asks for and answer it."""
        id_, do = said.pop("id"), said.pop("do")
        try:
            answer = await self._act(do)(said)
        except sdk.GatewayError as error:
            say({"id": id_, "error": error_view(error)})
        else:
            say({"id": id_, "ok": answer or {}})

    async def stop(self) -> None:
        """End the client."""
        life, self._life = self._life, None
        if life is not None:
            await life.aclose()

    def _act(self, do: str) -> Callable[[Mapping[str, Any]], Any]:
        named = {"start": self._start, "connect": self._connect, "close": self._close}
        act: Callable[[Mapping[str, Any]], Any] = named.get(do) or getattr(self._driven, do)
        return act

    async def _start(self, said: Mapping[str, Any]) -> None:
        await self.stop()
        self._driven = Driven(said)
        self._life = AsyncExitStack()
        await self._life.enter_async_context(self._driven.client)
        self._tasks.create_task(self._driven.watch())

    async def _connect(self, said: Mapping[str, Any]) -> None:
        assert self._driven is not None
        self._tasks.create_task(self._driven.run(said))

    async def _close(self, _said: Mapping[str, Any]) -> None:
        await self.stop()


async def main() -> None:
    """Answer lines until there are no more."""
    lines = asyncio.StreamReader(limit=16 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with asyncio.TaskGroup() as tasks:
        desk = Desk(tasks)
        say(
            {
                "event": "ready",
                "name": f"gateway.client on Python {sys.version.split()[0]}",
                "features": _FEATURES,
            }
        )
        async for line in lines:
            tasks.create_task(desk.serve(json.loads(line)))
        await desk.stop()


if __name__ == "__main__":
    asyncio.run(main())
