"""Do effects and limits say what the protocol's page says, and show no secret?"""

from __future__ import annotations

import dataclasses
import typing

from gateway.core.rate_limits import SessionLimits
from gateway.core.session import AcceptSession, Answered, Close, Effect, Invoke, Resumed
from gateway.protocol import frames


def test_a_session_asks_for_three_things_and_tells_two() -> None:
    assert set(typing.get_args(Effect)) == {AcceptSession, Invoke, Close, Resumed, Answered}


def test_a_token_on_its_way_shows_nowhere() -> None:
    assert "canary" not in repr(AcceptSession("canary", ()))


def test_the_defaults_are_the_protocols() -> None:
    limits = SessionLimits()
    assert (limits.hello_s, limits.hello_bytes) == (5.0, 8_192)
    assert (limits.frame_bytes_in, limits.frame_bytes_out) == (16_384, 262_144)
    assert (limits.frames_per_s, limits.frames_burst, limits.dropped_max) == (20.0, 40, 200)
    assert (limits.errors_per_s, limits.topics, limits.devices) == (4, 64, 5)
    assert (limits.command_ahead_s, limits.resync_s) == (60.0, 5.0)
    assert (limits.ping_s, limits.pong_s) == (25.0, 10.0)


def test_phones_are_told_the_limits_that_are_obeyed() -> None:
    values = {field.name: index + 1 for index, field in enumerate(dataclasses.fields(SessionLimits))}
    told = dataclasses.asdict(dataclasses.replace(SessionLimits(), **values).told())
    assert told == {name: values[name] for name in told}
    assert told.keys() == {field.name for field in dataclasses.fields(frames.Limits)}


def test_a_close_may_know_nothing_but_its_code() -> None:
    assert Close(1000) == Close(1000, "", None, None)
