"""Addresses of a bus: how they are read, and no password in errors."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app.config.settings import MEMORY, BusSection, bus_address, bus_url, redis_url, without_password

GOOD = (
    MEMORY,
    "redis://h",
    "redis://redis.example:6379",
    "redis://127.0.0.1:6379/15",
    "redis://[::1]:6379/0",
    "redis://:p@h",
    "rediss://u:p%40%2F%3F@h:1/0",
    "redis+sentinel://a,b/m",
    "redis+cluster://a,b",
    "rediss+cluster://u:p@a:7000/?ca_file=/ca.pem",
    "rediss+sentinel://u:p@a:26379,b.example:26379,[::1]:26379/gateway?sentinel_password=x",
)
CANARY = "canary"
BAD = (
    ("", "must begin with memory://"),
    ("memory", "must begin with"),
    ("valkey://h", "must begin with"),
    ("memory://h", "must be memory:// and nothing behind it"),
    ("redis://", "cannot be used: a bus URL names a host"),
    (f"redis://u:{CANARY}@h:x", "cannot be used: a host"),
    (f"redis://u:{CANARY}@h/x", "cannot be used: the database"),
    (f"redis://{CANARY}@h", "cannot be used: a bus URL has user:password"),
    (f"redis://u:{CANARY}@h?sentinel_password=x", "cannot be used: a bus URL of this form has the options"),
    (f"redis+sentinel://u:{CANARY}@a,b", "cannot be used: a bus URL with sentinels names the primary"),
)


@pytest.mark.parametrize("url", GOOD)
def test_addresses_are_taken_as_they_are(url: str) -> None:
    assert bus_url(url) == url
    assert (bus_address(url) is None) == (url == MEMORY)


@pytest.mark.parametrize(("url", "start"), BAD)
def test_what_is_none_is_refused_without_being_repeated(url: str, start: str) -> None:
    with pytest.raises(ValueError, match="^" + start) as refused:
        bus_url(url)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("rediz://h", "redis"),
        ("memori://", "memory"),
        ("redis+sentinels://h/m", "redis+sentinel"),
        ("redis-cluster://h:6379", "redis+cluster"),
        ("rediscluster://h", "redis+cluster"),
    ],
)
def test_near_misses_are_named(text: str, near: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"did you mean {near}://")):
        bus_url(text)


def url_of(**given: object) -> str | None:
    return redis_url(BusSection.model_validate(given))


def test_a_file_of_the_authority_is_added() -> None:
    url = url_of(url="rediss://h?db=1", ca_file="/etc/a b&c.pem")
    assert url is not None
    found = bus_address(url)
    assert found is not None
    assert (found.ca_file, found.db, found.tls) == ("/etc/a b&c.pem", 1, True)
    assert url_of(url="rediss://h") == "rediss://h"
    assert url_of(url=MEMORY) is None


AWKWARD = "p@ss/w:o?r#d%40 ü"


def test_users_and_passwords_beside_the_address_need_no_encoding() -> None:
    url = url_of(
        url="rediss+sentinel://a:1,b:2/m?db=3",
        user="gate way",
        password=AWKWARD,
        sentinel_user="s&x",
        sentinel_password=AWKWARD[::-1],
        ca_file="/ca.pem",
    )
    assert url is not None
    found = bus_address(url)
    assert found is not None
    assert (found.credentials.user, found.credentials.password) == ("gate way", AWKWARD)
    received = found.sentinel_credentials
    assert (received.user, received.password) == ("s&x", AWKWARD[::-1])
    assert (found.endpoints, found.service, found.db) == ((("a", 1), ("b", 2)), "m", 3)
    assert found.ca_file == "/ca.pem"


def test_a_password_alone_is_that_of_the_default_user() -> None:
    found = bus_address(url_of(url="redis://h", password="x") or MEMORY)
    assert found is not None
    assert (found.credentials.user, found.credentials.password) == (None, "x")


def test_passwords_are_hidden() -> None:
    shown = without_password("redis+sentinel://u:canary@a:1,b:2/m?sentinel_password=canary&db=1")
    assert shown == "redis+sentinel://********@a:1,b:2/m?sentinel_password=********&db=1"
    assert without_password("redis://h:1") == "redis://h:1"


@given(st.text(min_size=1))
def test_whatever_stands_before_the_host_is_hidden(password: str) -> None:
    assert without_password(f"redis://u:{password}@h/0") == "redis://********@h/0"


@pytest.mark.parametrize(
    "text",
    [
        "redis://p@ss@h:6379",
        "redis://p@ss:6379",
        "redis://:p@ss/w@h:6379",
        "redis://:pa#ss@h",
        "redis://:pa?ss@h",
    ],
)
def test_a_password_that_is_not_encoded_is_named_with_its_remedy(text: str) -> None:
    with pytest.raises(ValueError, match=r"%40.*bus\.password") as received:
        bus_url(text)
    assert "ss" not in str(received.value).replace("password", "").replace("passed", "")
