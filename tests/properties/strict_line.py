"""What a phone of the random lives follows, and what it should show."""

from __future__ import annotations

import json
from typing import Any, Final

from gateway.domain.model import Kind, Scope, SessionSecret, Ticket, UserId, key_of, parse_key
from gateway.domain.resources import Agent, Queue, Resource, RoutingState
from gateway.domain.upstream import Part, Source
from gateway.protocol.codec import JSON
from gateway.protocol.frames import Changes, Ping
from tests.doubles.fake_link import FakeLink
from tests.doubles.fake_upstream import FakeUpstream
from tests.properties.phone import Phone
from tests.runtime.scene import PhoneLine, Scene
from tests.upstream.samples import whole

AGENTS: Final = (7, 8, 9)
OURS: Final = "n1-1"
"""The holder that the node is."""


class History:
    """The routing states that each agent ever had: none other is ever shown."""

    def __init__(self) -> None:
        self.of: dict[str, set[str]] = {f"agent:{number}": set() for number in AGENTS}

    def note(self, at: Scene) -> None:
        for number in AGENTS:
            now = value(at.upstream.parts.get((Source.REALTIME, Kind.AGENT, number)))
            state = now.routing_state if isinstance(now, Agent) else RoutingState.LOGGED_OFF
            self.of[f"agent:{number}"].add(str(state))


class StrictLine(PhoneLine):
    """A connection whose frames are followed by a client written from the protocol's page alone."""

    def __init__(self, at: Scene, ticket: Ticket, phone: Phone, history: History) -> None:
        self.phone = phone
        self._history = history
        self._followed = 0
        self._allowed: set[str] = set()
        super().__init__(at, ticket)

    def take(self) -> None:
        """Take what leaves now, and have the client follow it."""
        self._history.note(self.scene)
        self._allowed |= {key_of(kind, n) for kind in Kind for n in scope_of(self).of(kind)}
        super().take()
        fresh, self._followed = self.frames[self._followed :], len(self.frames)
        for frame in fresh:
            if frame["kind"] in {"changes", "ping"}:
                self._follow(JSON.decode_gateway(json.dumps(frame).encode()))

    def _follow(self, frame: object) -> None:
        assert isinstance(frame, Changes | Ping)
        if isinstance(frame, Changes):
            named = resources(frame.put.keys() | frame.patch.keys())
            assert named <= self._allowed, "what was never in the scope was framed"
            for key, fields in (*frame.put.items(), *frame.patch.items()):
                state = fields.get("routing_state")
                assert state in {*self._history.of.get(key, set()), "unknown", None}, "a state was invented"
        self.phone.take(frame)


def scope_of(line: PhoneLine) -> Scope:
    """Return what the line's session may see, as the double says."""
    return line.scene.upstream.people[line.ticket.user].scopes[line.ticket.application]


def resources(keys: set[str]) -> set[str]:
    return {key for key in keys if key.partition(":")[0] in set(Kind)}


def truth(line: PhoneLine) -> dict[str, dict[str, Any]]:
    """Return what the line's phone should show, as far as it is compared."""
    parts, scope = line.scene.upstream.parts, scope_of(line)
    found: dict[str, dict[str, Any]] = {}
    for number in scope.agents:
        known = value(parts.get((Source.DIRECTORY, Kind.AGENT, number)))
        now = value(parts.get((Source.REALTIME, Kind.AGENT, number)))
        if isinstance(known, Agent):
            state = now.routing_state if isinstance(now, Agent) else RoutingState.LOGGED_OFF
            found[f"agent:{number}"] = {"display_name": known.display_name, "routing_state": state}
    for number in scope.queues:
        named = value(parts.get((Source.DIRECTORY, Kind.QUEUE, number)))
        waiting = value(parts.get((Source.REALTIME, Kind.QUEUE, number)))
        if isinstance(named, Queue) and isinstance(waiting, Queue):
            found[f"queue:{number}"] = {"name": named.name, "contacts_waiting": waiting.contacts_waiting}
    return found


def value(part: Part | None) -> Resource | None:
    return None if part is None else whole(part)


def check_shown(line: StrictLine) -> None:
    """Hold what a phone shows to the truth of its scope."""
    shown, expected = line.phone.shown, truth(line)
    assert resources(set(shown)) == expected.keys(), "not the resources of its scope"
    for key, fields in expected.items():
        assert {name: shown[key].get(name) for name in fields} == fields, key
    assert shown["me"]["scope_size"] == scope_of(line).size
    assert line.health == "live"


def check_mirrors(at: Scene) -> None:
    """Hold what a node keeps to what its users' sessions may see."""
    for of, user_state in at.node.user_states.items():
        scopes, owner = at.upstream.people[of].scopes, user_state.owner
        assert owner is not None
        seen = [scopes[member.ticket.application] for member in owner.user_sessions]
        union = {(kind, number) for scope in seen for kind in Kind for number in scope.of(kind)}
        kept = {parsed for key, _ in user_state.feed.ledger.items() if (parsed := parse_key(key))}
        assert kept <= union, "the mirror keeps what no session may see"
        assert owner.mirror.assembly.addresses() <= union
        assert len(at.upstream.wires[of].sessions) == len(owner.user_sessions)


def watch_links(upstream: FakeUpstream, links: list[tuple[UserId, FakeLink]]) -> None:
    """Have every link that the gateway opens noted in *links*."""
    opening = upstream.open

    async def open_(user: UserId, secret: SessionSecret, *, token: int, holder: str) -> FakeLink:
        link = await opening(user, secret, token=token, holder=holder)
        if holder == OURS:
            links.append((user, link))
        return link

    upstream.open = open_  # type: ignore[method-assign]  # a wrapper of the same form
