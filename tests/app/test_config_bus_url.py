"""Is every address of a bus read as it is meant, and does no complaint repeat a password?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app.config_bus_url import MEMORY, bus_url, has_password, without_password

GOOD = (
    MEMORY,
    "redis://h",
    "redis://redis.example:6379",
    "redis://127.0.0.1:6379/15",
    "redis://[::1]:6379/0",
    "redis://:p@h",
    "rediss://u:p%40%2F%3F@h:1/0",
    "redis+sentinel://a,b/m",
    "redis+sentinel://u:p@a:26379,b.example:26379,[::1]:26379/oscc-gateway/2",
)
CANARY = "canary"
BAD = (
    ("", "must begin with memory://"),
    ("memory", "must begin with"),
    ("valkey://h", "must begin with"),
    ("memory://h", "must be memory:// and nothing behind it"),
    ("redis://", "must name a host"),
    ("redis:///0", "must name a host"),
    ("redis://a,b", "must name a host"),
    ("redis://h:0", "must name a host"),
    ("redis://h:65536", "must name a host"),
    ("redis://h:x", "must name a host"),
    ("redis://h ", "must name a host"),
    ("redis://…", "must name a host"),
    ("redis://h/16", "may name a database"),
    ("redis://h/x", "may name a database"),
    ("redis://h/1/2", "may name a database"),
    (f"redis://u:{CANARY}/x@h", "must name a host"),
    (f"redis://{CANARY}@h", "must name user and password"),
    ("redis://u:@h", "has a user without a password"),
    (f"redis://u:{CANARY}@x@h", "has two @"),
    (f"redis://u:{CANARY}?@h", "must have no"),
    (f"redis://u:{CANARY}#@h", "must have no"),
    ("redis+sentinel://a,b", "must name the Sentinels' service"),
    ("redis+sentinel://a,b/", "must name the Sentinels' service"),
    ("redis+sentinel://a,,b/m", "must name a host"),
    ("redis+sentinel://a,b/m/x", "may name a database"),
)


@pytest.mark.parametrize("url", GOOD)
def test_addresses_are_taken_as_they_are(url: str) -> None:
    assert bus_url(url) == url


@pytest.mark.parametrize(("url", "start"), BAD)
def test_what_is_none_is_refused_without_being_repeated(url: str, start: str) -> None:
    with pytest.raises(ValueError, match="^" + start.replace("?", r"\?")) as refused:
        bus_url(url)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "near"), [("rediz://h", "redis"), ("memori://", "memory"), ("redis+sentinels://h/m", "redis")]
)
def test_near_misses_are_named(text: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean {near}"):
        bus_url(text)


def test_a_password_is_known_and_hidden() -> None:
    assert without_password("redis+sentinel://u:canary@a:1,b:2/m") == "redis+sentinel://********@a:1,b:2/m"
    assert without_password("redis://h:1") == "redis://h:1"
    assert [has_password(url) for url in GOOD] == [False] * 5 + [True, True, False, True]


@given(st.text(min_size=1))
def test_whatever_stands_before_the_host_is_hidden(password: str) -> None:
    assert without_password(f"redis://u:{password}@h/0") == "redis://********@h/0"
