"""The client keeps its mirror in sync whatever happens to a connection, and connects again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.client import Access, Realtime, RealtimeServices
from gateway.client.dialogue import NextTry, Reconnect, Wishes
from gateway.client.http import ADVISED_MAX_S, Backoff, Ending, Window, window_of
from gateway.client.mirror import Ended
from gateway.domain.errors import GatewayError
from gateway.protocol import frames
from tests.client.subject import Subject
from tests.doubles.clock import ManualClock
from tests.doubles.scripted_gateway import Phone, ScriptedGateway, ping, welcome


async def test_it_arrives_when_the_mirror_is_in_sync(
    subject: Subject, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    phone = await gateway.phone()
    assert (await phone.receive(frames.Hello)).token == "token-1"
    assert "Authorization" not in phone.headers
    assert "permessage-deflate" in phone.headers["Sec-WebSocket-Extensions"]
    assert subject.realtime.served is None
    await phone.send(welcome(), frames.Changes(0, 0, stream="1.a", reset=True, more=True))
    await clock.settle()
    assert subject.connected == 0
    await phone.send(frames.Changes(0, 5, put={"site": {}}))
    await subject.realtime.arrived()
    assert set(subject.realtime.memory.mirror) == {"site"}
    assert subject.realtime.served is not None


async def test_a_connection_that_the_change_of_network_ended_is_followed_by_another_at_once(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock
) -> None:
    subject.realtime.network_changed()
    await phone.receive(frames.Pong)
    await clock.advance(3)
    await phone.left()
    await clock.settle()
    assert gateway.called, "it waits, though there is another network"


async def test_a_bye_is_reported_before_the_socket_is_closed(
    subject: Subject, phone: Phone, clock: ManualClock
) -> None:
    await phone.send(ping(5, 5))
    await clock.settle()
    assert subject.realtime.is_current
    await phone.send(frames.Bye(4200, "draining", "after", None, 3.0, 3.0))
    await clock.settle()
    assert subject.waits == [3.0]
    assert not subject.realtime.is_current


async def test_leaving_while_it_waits_or_before_it_began_is_leaving_too(
    subject: Subject, phone: Phone, means: RealtimeServices, clock: ManualClock
) -> None:
    phone.drop()
    await clock.settle()
    await subject.realtime.leave()
    await Realtime(means, Access(lambda: "token", lambda _: None, None), Wishes()).leave()


# ---- effect of each end of a connection, as documented ----


@pytest.mark.parametrize("code", [4000, 4005, 4008, 1008])
async def test_a_stop_is_the_end(
    subject: Subject, phone: Phone, gateway: ScriptedGateway, clock: ManualClock, code: int
) -> None:
    if code >= 4000:
        await phone.bye(code, "why", by="Bob")
    else:
        await phone.close(code)
    await subject.realtime.finished()
    expected = Ended(code, "why", "Bob") if code >= 4000 else Ended(code, "connection closed", None)
    assert subject.realtime.ended == expected
    await clock.settle()
    assert subject.received[-1] == expected
    assert len(subject.realtime.memory.mirror) == 0
    await clock.advance(100)
    assert not gateway.called
    assert subject.log_ons == 0
    with pytest.raises(GatewayError) as over:
        await subject.realtime.arrived()
    assert over.value.details == {"close_code": code, "reason": expected.reason, "by": expected.by}


# ---- reconnection ----


JITTER = st.floats(0, 1, exclude_max=True)


@given(st.lists(JITTER, max_size=50))
def test_back_off_is_full_jitter_within_its_bounds(jitters: list[float]) -> None:
    backoff = Backoff()
    for n, jitter in enumerate(jitters):
        assert backoff.failed(jitter) == jitter * min(20.0, 0.5 * 2**n)


@pytest.mark.parametrize(("up_s", "expected"), [(0.0, 2.0), (29.9, 2.0), (30.0, 0.5)])
def test_only_a_stable_connection_ends_a_row_of_failures(up_s: float, expected: float) -> None:
    backoff = Backoff()
    backoff.failed(1.0)
    backoff.failed(1.0)
    backoff.lasted(up_s)
    assert backoff.failed(1.0) == expected


STOP = None
NOW = NextTry(0.5)
LOG_ON = NextTry(0.5, logs_on=True)


@pytest.mark.parametrize(
    ("code", "step"),
    [(code, STOP) for code in (4000, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4008, 4099)]
    + [(code, NOW) for code in (4100, 4102, 4103, 4108, 4109, 4110, 4199, 4200, 4201, 4299)]
    + [(code, LOG_ON) for code in (4300, 4399)]
    + [(code, NOW) for code in (1001, 1006, 1011, 1012, 1013)]
    + [(code, STOP) for code in (1000, 1002, 1003, 1007, 1008, 1009, 3000, 4400)],
)
def test_the_range_of_the_close_code_decides(code: int, step: NextTry | None) -> None:
    assert Reconnect().after(Ending(code, "why"), 0.0, 1.0) == step


@given(st.sampled_from([1012, 4100, 4200, 4300]), JITTER, st.floats(0, 100), st.floats(0, 100))
def test_advised_windows_win(code: int, jitter: float, low: float, width: float) -> None:
    reconnect = Reconnect()
    for _ in range(3):
        step = reconnect.after(Ending(code, "why", window=Window(low, low + width)), 0.0, jitter)
        assert step is not None
        assert low <= step.in_s <= low + width


def test_advice_is_bounded_and_never_negative() -> None:
    reconnect = Reconnect()
    far = reconnect.after(Ending(4200, "why", window=Window(1e9, 1e12)), 0.0, 0.5)
    odd = reconnect.after(Ending(4200, "why", window=Window(-5.0, -9.0)), 0.0, 0.5)
    swapped = reconnect.after(Ending(4200, "why", window=Window(8.0, 2.0)), 0.0, 0.5)
    assert (far, odd, swapped) == (NextTry(ADVISED_MAX_S), NextTry(0.0), NextTry(8.0))


@given(st.lists(st.floats(0, 5), max_size=30))
def test_tries_that_hurry_are_never_closer_than_two_seconds(steps: list[float]) -> None:
    reconnect, now, tries = Reconnect(), 0.0, set[float]()
    for step in steps:
        now += step
        tries.add(round(now + reconnect.hurry(now), 6))
    ordered = sorted(tries)
    assert all(later - earlier > 1.999 for earlier, later in itertools.pairwise(ordered))


@pytest.mark.parametrize(
    ("bounds", "window"),
    [
        ((None, None), None),
        ((1.0, 9.0), Window(1.0, 9.0)),
        ((3.0, None), Window(3.0, 3.0)),
        ((None, 9.0), Window(0.0, 9.0)),
    ],
)
def test_a_bye_may_advise_a_window(bounds: tuple[float | None, float | None], window: Window | None) -> None:
    assert window_of(*bounds) == window
