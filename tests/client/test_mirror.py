"""Rules of the client's mirror; test_mirror_convergence.py has whatever a gateway may send."""

from __future__ import annotations

import pytest

from gateway.client.mirror import PARTS_MAX, ClientMirror, FrameResult, Value
from gateway.domain.model import Kind
from gateway.protocol.frames import Changes, Ping, StreamPosition

Fields = dict[str, object]


def _ping(after: int, upto: int) -> Ping:
    return Ping(after, upto, "n", None, "live", "live", 0)


def _in_sync(**values: Fields) -> ClientMirror:
    mirror = ClientMirror()
    named = {key.replace("_", ":"): value for key, value in values.items()}
    assert mirror.receive(Changes(0, 5, stream="1.a", reset=True, put=named)) is FrameResult.APPLIED
    return mirror


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(Changes(6, 7, put={"queue:2": {"name": "b"}}), id="after too high"),
        pytest.param(Changes(5, 4, put={"queue:2": {"name": "b"}}), id="upto too low"),
        pytest.param(Changes(5, 6, patch={"queue:2": {"name": "b"}}), id="patch of nothing"),
        pytest.param(Changes(0, 6, reset=True), id="reset without stream"),
        pytest.param(
            Changes(0, 6, reset=True, stream="1.a", patch={"queue:1": {"name": "b"}}),
            id="patch of what is forgotten",
        ),
        pytest.param(_ping(6, 6), id="ping"),
        pytest.param(_ping(5, 4), id="ping back"),
    ],
)
def test_what_does_not_continue_is_a_gap_and_only_a_reset_closes_it(frame: Changes | Ping) -> None:
    mirror = _in_sync(queue_1={"name": "a"})
    assert mirror.receive(frame) is FrameResult.GAP
    assert mirror.lost
    assert mirror.receive(Changes(5, 6, gone=("queue:1",))) is FrameResult.GAP
    assert mirror.receive(_ping(5, 6)) is FrameResult.GAP
    assert set(mirror) == {"queue:1"}
    assert mirror.position == StreamPosition("1.a", 5)
    assert mirror.receive(Changes(0, 9, stream="1.a", reset=True)) is FrameResult.APPLIED
    assert list(mirror) == []


@pytest.mark.parametrize("between", [_ping(5, 5), Changes(5, 6, stream="1.b"), Changes(4, 6)])
def test_nothing_comes_between_the_parts(between: Changes | Ping) -> None:
    mirror = _in_sync()
    mirror.receive(Changes(5, 5, more=True, put={"queue:1": {"name": "a"}}))
    assert mirror.receive(between) is FrameResult.GAP
    assert "queue:1" not in mirror


def test_parts_are_bounded() -> None:
    mirror = _in_sync()
    for _ in range(PARTS_MAX):
        assert mirror.receive(Changes(5, 5, more=True)) is FrameResult.HELD_BACK
    assert mirror.receive(Changes(5, 5, more=True)) is FrameResult.GAP


def test_listeners_hear_what_changed_and_nothing_else_and_see_the_frame_whole() -> None:
    mirror = _in_sync(queue_1={"name": "a"}, queue_2={"name": "b"})
    arrived: list[tuple[str, Value | None, Value | None]] = []
    end = mirror.listen(lambda *change: arrived.append(change))
    put: dict[str, Fields] = {"queue:1": {"name": "a"}, "queue:3": {"name": "c"}}
    mirror.receive(Changes(0, 9, stream="2.a", reset=True, put=put))
    assert arrived == [("queue:3", None, {"name": "c"}), ("queue:2", {"name": "b"}, None)]
    end()
    mirror.clear()
    assert len(arrived) == 2
    assert mirror.position is None
    assert len(mirror) == 0
    mirror = _in_sync()
    seen: list[set[str]] = []
    mirror.listen(lambda *_: seen.append(set(mirror)))
    mirror.receive(Changes(5, 6, put={"queue:1": {}, "queue:2": {}}))
    assert seen == [{"queue:1", "queue:2"}] * 2


def test_values_are_read_only() -> None:
    value = _in_sync(queue_1={"name": "a"})["queue:1"]
    assert not hasattr(value, "__setitem__")


def test_resources_of_a_kind_come_by_their_ids() -> None:
    mirror = _in_sync(queue_1={"name": "a"}, agent_1={"display_name": "b"}, site={})
    assert list(mirror.of(Kind.QUEUE)) == [("1", {"name": "a"})]
