"""A state of thousands of values is written a few at a time: work is counted, not timed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.core.element import MADE_AT_ONCE, Element
from gateway.core.fanout_group import FanoutGroup
from gateway.core.ledger import Ledger
from gateway.core.outbox import Outbox, PaceLadder
from gateway.core.view import view_of
from gateway.domain.model import Scope
from gateway.domain.resources import Agent, Resource
from gateway.protocol import codec
from gateway.protocol.codec import Codec
from gateway.protocol.frames import JSON_PROTOCOL, StreamPosition
from tests.core.samples import decoded

AGENTS = 5 * MADE_AT_ONCE + 7
VIEW = view_of("h", Scope(agents=frozenset(range(AGENTS))), ("agents",))


class Bench:
    """A mirror of many agents and a codec that counts what it writes."""

    def __init__(self) -> None:
        self.written = 0
        self.codec = Codec(
            "counting",
            JSON_PROTOCOL,
            text=True,
            write=self._write,
            read=codec.read_json,
            changes=codec.json_changes,
            patches=codec.json_patches,
            members=codec.json_members,
        )
        self.ledger = Ledger(1)
        self.name_all("first")

    def _write(self, value: object) -> bytes:
        self.written += 1
        return codec.write_json(value)

    def name_all(self, name: str) -> None:
        for number in range(AGENTS):
            self.name(number, name)

    def name(self, number: int, name: str) -> None:
        before = self.ledger.get(f"agent:{number}")
        value: Resource = Agent(display_name=name, extension=str(number))
        self.ledger.record(f"agent:{number}", Element(value))
        assert before is None or before.value != value

    def phone(self) -> Outbox:
        return Outbox(self.ledger, VIEW, self.codec, PaceLadder(), frame_bytes=64 * 1024)

    def count(self, step: Callable[[], object]) -> int:
        before = self.written
        step()
        return self.written - before

    def prepare(self, what: Outbox | FanoutGroup) -> list[int]:
        """Prepare all; returns how many wire forms each step made."""
        steps = []
        while True:
            before = self.written
            is_ready = what.prepare()
            steps.append(self.written - before)
            if is_ready:
                return steps


def shown(frames: list[bytes]) -> dict[str, str]:
    """Return the name of each agent after *frames*."""
    names: dict[str, str] = {}
    for frame in decoded(frames):
        for part in ("put", "patch"):
            names |= {key: fields["display_name"] for key, fields in frame.get(part, {}).items()}
    return names


def all_named(name: str) -> dict[str, str]:
    return {f"agent:{number}": name for number in range(AGENTS)}


def test_a_whole_state_is_made_in_slices() -> None:
    bench = Bench()
    phone = bench.phone()
    phone.begin(None)
    steps = bench.prepare(phone)
    assert sum(steps) == AGENTS
    assert max(steps) <= MADE_AT_ONCE
    frames: list[bytes] = []
    assert bench.count(lambda: frames.extend(phone.take(0.0))) == 0
    assert shown(frames) == all_named("first")


def test_what_changes_between_two_slices_is_reported_as_it_is_in_the_end() -> None:
    bench = Bench()
    phone = bench.phone()
    phone.begin(None)
    assert not phone.prepare()
    bench.name(3, "second")
    bench.name(AGENTS - 1, "second")
    bench.prepare(phone)
    frames: list[bytes] = []
    assert bench.count(lambda: frames.extend(phone.take(0.0))) <= 2
    assert shown(frames) == all_named("first") | {"agent:3": "second", f"agent:{AGENTS - 1}": "second"}


def test_what_a_phone_missed_while_it_was_away_is_made_in_slices() -> None:
    bench = Bench()
    position = StreamPosition(f"1.{VIEW.mark}", bench.ledger.position.seq)
    bench.name_all("second")
    phone = bench.phone()
    assert phone.begin(position)
    assert max(bench.prepare(phone)) <= MADE_AT_ONCE
    frames: list[bytes] = []
    assert bench.count(lambda: frames.extend(phone.take(0.0))) == 0
    assert shown(frames) == all_named("second")


def test_changes_of_everything_are_made_in_slices_for_those_in_step() -> None:
    bench = Bench()
    phones = [bench.phone() for _ in range(2)]
    for phone in phones:
        phone.begin(None)
        phone.take(0.0)
    group = phones[0].fanout_group
    assert group is not None
    assert phones[1].fanout_group is group
    bench.name_all("second")
    steps = bench.prepare(group)
    assert sum(steps) == AGENTS
    assert max(steps) <= MADE_AT_ONCE
    frames: list[bytes] = []
    assert bench.count(lambda: frames.extend(group.take(1.0))) == 0
    assert shown(frames) == all_named("second")


@pytest.mark.parametrize("then", ["reset", "look"])
def test_a_phone_that_wants_something_else_meanwhile_gets_that(then: str) -> None:
    bench = Bench()
    phone = bench.phone()
    phone.begin(None)
    phone.take(0.0)
    bench.name_all("second")
    assert not phone.prepare()
    few = view_of("h", Scope(agents=frozenset({1, 2})), ("agents",))
    if then == "reset":
        phone.reset()
    else:
        phone.look(few)
    bench.prepare(phone)
    wanted = all_named("second") if then == "reset" else dict.fromkeys(("agent:1", "agent:2"), "second")
    assert shown(phone.take(1.0)) == wanted
