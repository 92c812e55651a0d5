"""An Asterisk as the centre of a cluster: the small one as a process, with the control door of the simulator.

AMI has no links of users, so what a scenario counts of links and log-ons is not seen there: it is counted at
the nodes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from gateway.runtime.event_loop import SystemClock
from gateway.simulator.ami import FakeAsterisk, Membership
from gateway.simulator.ami_day import Day
from gateway.simulator.ami_session import Session
from gateway.simulator.settings import RealClock
from gateway.upstream.asterisk.people import number_of
from tests.cluster.centre import BEACON, Centre
from tests.cluster.programs import Launch
from tests.doubles.fake_ami import quick_hash

REASON: Final = "Paperwork"
AWAY_S: Final = 3.0
"""How long a killed Asterisk takes to come back."""
_BUSY: Final = {2, 3, 6, 7, 8}


def _beacon(queue: str) -> str:
    return f"Local/beacon@{queue}/n"


class Counting(FakeAsterisk):
    """The small Asterisk; it counts the actions that it carries out."""

    def __init__(self) -> None:
        super().__init__(lambda: SystemClock().wall_ms() / 1000)
        self.done: Counter[str] = Counter()

    def act(self, session: Session, name: str, number: str, fields: dict[str, str]) -> None:
        self.done[name] += 1
        super().act(session, name, number, fields)


class Door:
    """The control door."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.fake = Counting()
        self._day = Day(self.fake, RealClock())
        self._living: asyncio.Task[None] | None = None
        self._is_there = asyncio.Event()

    def furnish(self) -> None:
        """Make queues and agents; one member of each queue is the beacon, whose name changes."""
        self._day.add_queues_and_agents(agents=self.options.agents, queues=self.options.queues)
        for queue in self.fake.queues:
            self.fake.add_static(queue, _beacon(queue), "canary-beacon")

    def people(self) -> str:
        """Return the people file: supervisors who see everything."""
        one = '[[people]]\nlogin = "supervisor{0}"\nname = "Canary Boss {0}"\npassword = "{1}"\n'
        one += 'supervisor = true\nsees = ["*"]\n'
        hashed = quick_hash(self.options.password)
        return "\n".join(one.format(number, hashed) for number in range(1, self.options.users + 1))

    async def serve(self) -> None:
        """Serve until killed."""
        self.furnish()
        self.options.people.write_text(self.people(), "utf-8")
        self.fake.port = self.options.port
        await self.fake.start()
        app = web.Application()
        app.router.add_get("/simulator/v1/{what}", self._asked)
        app.router.add_post("/simulator/v1/{what}", self._received)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.options.control_port).start()
        self._live(goes_on=True)
        self._is_there.set()
        print("control door at this machine", flush=True)
        await asyncio.Event().wait()

    def _live(self, *, goes_on: bool) -> None:
        if self._living is not None:
            self._living.cancel()
        self._living = asyncio.create_task(self._day.run()) if goes_on else None

    async def _asked(self, request: web.Request) -> web.Response:
        asked = {
            "users": self._users,
            "links": self._links,
            "counts": lambda: {"LogOnAttempts": 0},
            "truth": self._truth,
            "routing": self._routing,
        }
        return web.json_response(asked[request.match_info["what"]]())

    async def _received(self, request: web.Request) -> web.Response:
        body = await request.json()
        match request.match_info["what"]:
            case "pause" | "resume" as what:
                self._live(goes_on=what == "resume")
            case "act":
                await self._is_there.wait()
                self._rename(body["Key"], body["Name"])
            case "fault":
                await self._kill()
        return web.json_response({})

    def _rename(self, key: int, name: str) -> None:
        queue = next(one for one in self.fake.queues.values() if number_of("queue", one.name) == key)
        member = queue.members[_beacon(queue.name)]
        member.name = name
        self.fake.device(member.interface, 1 if member.status == 0 else 0)  # its event carries the name

    async def _kill(self) -> None:
        """Kill Asterisk; it comes back, and no call is left."""
        self._is_there.clear()
        self._live(goes_on=False)
        await self.fake.stop(kill=True)
        self._day = Day(self.fake, RealClock())
        await asyncio.sleep(AWAY_S)
        await self.fake.start()
        self._live(goes_on=True)
        self._is_there.set()

    def _users(self) -> dict[str, Any]:
        interfaces = {name for queue in self.fake.queues.values() for name in queue.members}
        scope = {
            "Users": sorted(number_of("interface", name) for name in interfaces),
            "Queues": sorted(number_of("queue", name) for name in self.fake.queues),
            "Groups": [],
            "Aggregates": [],
        }
        return {
            "Users": [
                {
                    "UserName": f"supervisor{number}",
                    "FirstName": "Canary Boss",
                    "LastName": "",
                    "Scope": scope,
                }
                for number in range(1, self.options.users + 1)
            ]
        }

    def _links(self) -> dict[str, Any]:
        return {
            "Links": {},
            "Sessions": [],
            "LogOnAttempts": 0,
            "Executed": {"SetRoutingState": self.fake.done["QueuePause"]},
            "Keys": {"ExecutedTwice": 0, "CameAgain": 0},
        }

    def _routing(self) -> dict[str, str]:
        return self.fake.db.get("oscc-number", {})

    def _truth(self) -> dict[str, Any]:
        return truth_of(self.fake)


def truth_of(fake: FakeAsterisk) -> dict[str, Any]:
    """Return what is true at an Asterisk now, for :class:`AsteriskTruth`."""
    return {
        queue.name: {
            "Waiting": len(queue.callers),
            "Members": {name: _shown(member) for name, member in queue.members.items()},
        }
        for queue in fake.queues.values()
    }


def _shown(member: Membership) -> dict[str, Any]:
    return {
        "Paused": member.paused,
        "Reason": member.reason,
        "IsBusy": member.in_call or member.status in _BUSY,
        "Name": member.name,
    }


class AsteriskTruth:
    """What phones must show of it: routing states with their reasons, names, and the figures of queues."""

    def __init__(self, truth: Mapping[str, Any], people: Mapping[str, str] | None = None) -> None:
        self._queues = truth
        self._people = people or {}
        """Interface → the login of its person."""

    def differences(self, shown: Mapping[str, Mapping[str, Any]], scope: dict[str, list[int]]) -> list[str]:
        """Return what a phone that sees everything shows wrongly; empty when it shows the truth."""
        wanted = self._wanted()
        keys = {key for key in shown if key.split(":")[0] in {"agent", "queue"}}
        found = [] if keys == wanted.keys() else [f"keys: {keys ^ wanted.keys()}"]
        for key in keys & wanted.keys():
            found += [
                f"{key}.{name}: shown {shown[key].get(name)!r}, true {value!r}"
                for name, value in wanted[key].items()
                if shown[key].get(name) != value
            ]
        return found

    def _wanted(self) -> dict[str, dict[str, Any]]:
        wanted: dict[str, dict[str, Any]] = {}
        memberships: dict[str, list[dict[str, Any]]] = {}
        for name, queue in self._queues.items():
            members = queue["Members"].values()
            wanted[f"queue:{number_of('queue', name)}"] = {
                "name": name,
                "contacts_waiting": queue["Waiting"],
                "agents_logged_on": len(members),
                "agents_handling": sum(one["IsBusy"] for one in members),
                "agents_available": sum(not one["IsBusy"] and not one["Paused"] for one in members),
            }
            for interface, member in queue["Members"].items():
                memberships.setdefault(interface, []).append(member)
        for interface, held in memberships.items():
            is_paused = all(one["Paused"] for one in held)
            reason = held[0]["Reason"] if is_paused else ""
            state = "work" if reason == REASON else "unavailable"
            login = self._people.get(interface)
            number = number_of("interface", interface) if login is None else number_of("person", login)
            wanted[f"agent:{number}"] = {
                "routing_state": state if is_paused else "available",
                "reason_id": str(number_of("reason", reason)) if reason else None,
            }
            if not held[0]["Name"].startswith(BEACON):  # its name goes on changing; its age is a figure
                wanted[f"agent:{number}"]["display_name"] = held[0]["Name"]
        return wanted


class AsteriskCentre(Centre):
    """The process as a scenario uses it."""

    def __init__(
        self, folder: Path, http: aiohttp.ClientSession, ports: tuple[int, int], *options: str
    ) -> None:
        self._people = folder / "people.toml"
        super().__init__(folder, http, ports, *options, "--people", str(self._people))
        self.launch = Launch(("tests.cluster.asterisk",))

    def configured(self, text: str) -> str:
        """Return a node's configuration file for this centre."""
        table = {"user": "oscc", "secret": "secret", "people_file": str(self._people)}
        lines = [f"{name} = {json.dumps(value)}" for name, value in table.items()]
        lines += [f"work_reasons = {json.dumps([REASON])}", "look_s = 5", "figures_s = 1"]
        return text.replace('url = "http://', 'url = "ami://') + "\n".join(["[sites.asterisk]", *lines, ""])

    async def truth(self) -> AsteriskTruth:
        """Return what is true there now."""
        return AsteriskTruth(await self.ask("truth"))


def main() -> None:
    """Be the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("simulate")
    for name in ("port", "control-port", "users", "agents", "queues"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--people", type=Path, required=True)
    asyncio.run(Door(parser.parse_known_args()[0]).serve())


if __name__ == "__main__":
    main()
