"""Where do the replies of a Redis begin and end, and which of them are published messages?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.resp import RespFrames, is_published

FRAMES = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":12\r\n",
    b",3.25\r\n",
    b"#t\r\n",
    b"_\r\n",
    b"(123456789012345678901234567890\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"$0\r\n\r\n",
    b"$8\r\nab\r\n*1\r\n\r\n",
    b"!5\r\nERR x\r\n",
    b"=7\r\ntxt:abc\r\n",
    b"*0\r\n",
    b"*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$4\r\n\r\n\r\n\r\n",
    b"*3\r\n$9\r\nsubscribe\r\n$2\r\nch\r\n:1\r\n",
    b"*2\r\n*2\r\n:1\r\n:2\r\n$1\r\nx\r\n",
    b">3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\nm\r\n",
    b">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$2\r\nch\r\n$1\r\nm\r\n",
    b"%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n:2\r\n",
    b"~2\r\n:1\r\n:2\r\n",
    b"|1\r\n+ttl\r\n:3600\r\n$1\r\nv\r\n",
]
PUBLISHED = {14, 17, 18}


@given(st.lists(st.sampled_from(FRAMES), max_size=8), st.lists(st.integers(1, 30), max_size=40))
def test_replies_are_cut_where_they_end_however_they_arrive(frames: list[bytes], steps: list[int]) -> None:
    stream, reader, found, at = b"".join(frames), RespFrames(), list[bytes](), 0
    for step in [*steps, len(stream)]:
        found += reader.feed(stream[at : at + step])
        at += step
    assert found == frames
    assert reader.held == 0


@pytest.mark.parametrize("number", range(len(FRAMES)))
def test_messages_of_subscriptions_are_told_from_everything_else(number: int) -> None:
    assert is_published(FRAMES[number]) is (number in PUBLISHED)


@pytest.mark.parametrize("strange", [b"HTTP/1.1 200 OK\r\n", b"$?\r\n", b"*x\r\n"])
def test_what_is_no_resp_is_not_guessed_at(strange: bytes) -> None:
    with pytest.raises(ValueError, match=r"RESP|invalid literal"):
        RespFrames().feed(strange)
