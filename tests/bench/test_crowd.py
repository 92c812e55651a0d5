"""What phones say first is what the gateway reads."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from bench.crowd import hello, log_on_body, read_positions, write_hellos
from gateway.protocol.bodies import LogOnBody
from gateway.protocol.codec import JSON
from gateway.protocol.frames import Hello


def test_the_gateway_reads_a_hello() -> None:
    frame = JSON.decode_client(hello("a token", ("12.ab", 41)).encode())
    assert isinstance(frame, Hello)
    assert frame.position is not None
    assert (frame.token, frame.position.stream, frame.position.seq) == ("a token", "12.ab", 41)


def test_who_has_no_position_begins_afresh() -> None:
    for position in (None, ("", 0)):
        frame = JSON.decode_client(hello("a token", position).encode())
        assert isinstance(frame, Hello)
        assert frame.position is None


def test_the_gateway_reads_a_log_on() -> None:
    body = TypeAdapter(LogOnBody).validate_python(log_on_body(7, 12))
    assert (body.user_name, body.device.id) == ("user7", "device12")


def test_phones_go_on_from_the_positions_that_were_saved(tmp_path: Path) -> None:
    positions = read_positions("12.ab\t41\n\t0\n")
    lines = write_hellos(tmp_path / "hellos", ["a", "b", "c"], positions).read_text("ascii").splitlines()
    assert lines == [hello("a", ("12.ab", 41)), hello("b"), hello("c")]
