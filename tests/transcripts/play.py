"""Play of a transcript: what it says is done, and what comes of it is written down."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

from gateway.edge.policies import NoticesInForce, NoticeText, OperatorNotice
from gateway.simulator.sessions import Session
from tests.transcripts.abridged import Json
from tests.transcripts.stage import SUPERVISOR, Handset, Stage, stage

TERMS: Final = OperatorNotice(
    "terms", 3, "privacy", 0, True, {"en": NoticeText("Privacy", "What we keep.", "https://x.example")}
)
LUNCH, MEETING, KATRIN = 95_001, 95_003, 100_002


async def played(text: str) -> str:
    """Do what the lines of a transcript say that begin with ``>``; return the transcript of that."""
    title, *lines = text.splitlines()
    async with stage(title) as at:
        play = Play(at)
        for line in lines:
            if line.startswith("-- "):
                at.note(line.removeprefix("-- "))
            elif line.startswith("> "):
                at.transcript.does(line)
                await play.does(line.removeprefix("> "))
        return at.transcript.text()


class Play:
    """Reader of what is done: ``WHO VERB …``, and at the end of the line fields as JSON."""

    def __init__(self, at: Stage) -> None:
        self._at = at
        self._phones: dict[str, Handset] = {}
        self._hidden = ExitStack()
        self._end_contact: Callable[[], None] = lambda: None
        server = at.server
        self._account = server.accounts.by_name[SUPERVISOR]
        self._rights = self._account.dashboard_rights
        self._scope = self._account.scope
        self._features = set(server.about.features)

    async def does(self, line: str) -> None:
        """Do what a line says."""
        words, brace, fields = line.partition(" {")
        who, verb, *rest = words.split()
        said: Json = json.loads("{" + fields) if brace else {}
        match who:
            case "OSCC-E":
                await self._server(verb, " ".join(rest))
            case "time":
                await self._at.passes(float(rest[0]))
            case "reader":
                self._hidden.close()
                if verb == "skips":
                    self._hidden.enter_context(self._at.hidden(phones=rest != ["links"]))
            case _:
                await self._phone(who, verb, rest, said)

    async def _phone(self, who: str, verb: str, rest: list[str], said: Json) -> None:
        at, phone = self._at, self._phones.get(who)
        if phone is None:
            self._phones[who] = await at.comes(rest[0], who, **said)
            return
        match verb:
            case "asks":
                times = {name: float(value) for name, _, value in (word.partition("=") for word in rest[1:])}
                await phone.asks(rest[0], **said, **times)
            case "repeats":
                await self._repeat(phone, rest, said)
            case "connects":
                await at.connects(phone, position=phone.position, **said)
            case _:
                await self._plain[verb](phone)

    async def _repeat(self, phone: Handset, of: list[str], said: Json) -> None:
        """Repeat the phone's own command, or another phone's."""
        if of:
            phone.last = self._phones[of[0]].last
        if said.get("key") == "new":
            said["key"] = f"00000000-0000-4000-8000-{self._at.next_key():012}"
        await phone.repeats(**said)

    @property
    def _plain(self) -> Mapping[str, Callable[[Handset], Awaitable[object]]]:
        async def loses(phone: Handset) -> None:
            phone.lose()

        async def leaves(phone: Handset) -> None:
            phone.say("bye")
            await self._at.settle()

        async def logs_off(phone: Handset) -> None:
            self._at.write(f"{phone.name} →", "DELETE /v1/session")
            await self._at.node.account.log_off(phone.ticket)
            await self._at.settle()

        return {"sends-again": Handset.sends_again, "loses": loses, "leaves": leaves, "logs-off": logs_off}

    async def _server(self, verb: str, what: str) -> None:
        at = self._at
        match verb:
            case "rings":
                self._end_contact = await at.rings()
            case "answers":
                await at.answers()
            case "refuses":
                at.refuses_next(what)
            case "offers":
                at.server.faults.set_features(self._features - set(what.removeprefix("all but").split()))
            case "sets-clock-ahead-ms":
                at.server.center.skew_ms = int(what)
            case "reopens-link-of":
                await at.reopens(int(what))
            case _:
                await self._event(f"{verb} {what}".strip())

    async def _event(self, what: str) -> None:
        """Let something happen that links are sent."""
        if what in self._quiet:
            self._quiet[what]()
        else:
            await self._at.happens(what, *self._seen[what])

    @property
    def _seen(self) -> Mapping[str, Iterable[Callable[[], object]]]:
        server, agent = self._at.server, self._at.agent
        function, rights = server.faults.set_function, server.administration.set_rights
        return {
            "logs agent 10001 on": [lambda: server.center.log_on(agent)],
            "logs agent 10001 off": [lambda: server.center.force_off(agent)],
            "leaves no rights": [lambda: rights(self._account, ())],
            "gives the rights back": [lambda: rights(self._account, self._rights)],
            "loses its database": [lambda: function("AdministrationDatabase", "Down")],
            "has its database again": [lambda: function("AdministrationDatabase", "Up")],
            "ends the contact": [self._end_contact],
            "ends the session": [
                lambda: server.sessions.end(self._session, "Expired"),
                server.board.flush_ended,
            ],
        }

    @property
    def _quiet(self) -> Mapping[str, Callable[[], object]]:
        """What is not written down: links are not sent it, or not then."""
        server = self._at.server
        queues, states = server.center.directory.queues, server.center.functions.states
        both = ("Dashboard", "RemoteAssistant")
        return {
            "loses the supervisor's link": self._lose_link,
            "is reached": self._at.access.unreachable.clear,
            "is slow": _sets(self._at, "is_slow", True),
            "has agent 10001 at his desk": lambda: server.center.log_on(self._at.agent),
            "has another catalogue of reasons": self._change_reasons,
            "has another catalogue of skills": self._change_skills,
            "takes the rights quietly": lambda: setattr(self._session, "rights", ()),
            "gives the rights quietly": lambda: setattr(self._session, "rights", self._rights),
            "takes queue 60003 quietly": lambda: self._see_queues(self._scope.queues - {60_003}),
            "gives queue 60003 quietly": lambda: self._see_queues(self._scope.queues),
            "has RemoteAgent down": _sets(states, "RemoteAgent", "Down"),
            "has RemoteAgent up": _sets(states, "RemoteAgent", "Up"),
            "lets queue 60003 overflow": _sets(queues[60_003].parameters, "OverflowQueue", 60_001),
            "wants a reason after contacts": _sets(queues[60_001].parameters, "WrapupReasonRequired", True),
            "lets agents use both apps": _sets(server.accounts.by_name["agent1"], "applications", both),
            "has an operator with a notice": lambda: self._at.notices.replace(NoticesInForce([TERMS])),
        }

    def _lose_link(self) -> None:
        self._at.write("OSCC-E", "loses the supervisor's link")
        self._at.access.cut(KATRIN)
        self._at.drops()

    def _change_reasons(self) -> None:
        reasons = self._at.server.center.directory.reasons
        del reasons[LUNCH]
        reasons[MEETING] = replace(reasons[MEETING], kind="WorkReason", required_for=("Available",))

    def _change_skills(self) -> None:
        skills = self._at.server.center.directory.skills
        skills[90_003] = replace(skills[90_003], level_max=5, preference_max=3)
        del skills[90_004]

    @property
    def _session(self) -> Session:
        public_id = self._phones["supervisor"].ticket.session
        return next(each for each in self._at.server.sessions if each.public_id == public_id)

    def _see_queues(self, queues: frozenset[int]) -> None:
        self._session.scope = replace(self._session.scope, queues=queues)


def _sets(of: Any, name: str, value: object) -> Callable[[], object]:  # noqa: ANN401 - a dictionary or any object
    return lambda: of.__setitem__(name, value) if isinstance(of, dict) else setattr(of, name, value)
