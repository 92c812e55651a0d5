"""Is every form of a bus URL read, and every other refused without repeating its secrets?"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.connect import Address, Endpoint, RedisCredentials, parse_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", Address((Endpoint("h", 6379),))),
        ("redis://h:1", Address((Endpoint("h", 1),))),
        ("redis://h:1/3", Address((Endpoint("h", 1),), db=3)),
        ("redis://h:1/?db=3", Address((Endpoint("h", 1),), db=3)),
        ("redis://:s3@h", Address((Endpoint("h", 6379),), RedisCredentials(None, "s3"))),
        ("redis://u:s%40%3a@h", Address((Endpoint("h", 6379),), RedisCredentials("u", "s@:"))),
        ("redis://u:a@b@h", Address((Endpoint("h", 6379),), RedisCredentials("u", "a@b"))),
        ("redis://[::1]:7", Address((Endpoint("::1", 7),))),
        ("rediss://h", Address((Endpoint("h", 6379),), tls=True)),
        ("rediss://h?ca_file=/etc/ca.pem", Address((Endpoint("h", 6379),), tls=True, ca_file="/etc/ca.pem")),
        (
            "redis+sentinel://u:p@a:1,b/main?db=2&sentinel_user=v&sentinel_password=q%26",
            Address(
                (Endpoint("a", 1), Endpoint("b", 26379)),
                RedisCredentials("u", "p"),
                "main",
                RedisCredentials("v", "q&"),
                db=2,
            ),
        ),
        (
            "rediss+sentinel://[::1]:1,[::2]/main",
            Address((Endpoint("::1", 1), Endpoint("::2", 26379)), service="main", tls=True),
        ),
        (
            "redis+cluster://u:p@a:1,b,[::1]:2",
            Address(
                (Endpoint("a", 1), Endpoint("b", 6379), Endpoint("::1", 2)),
                RedisCredentials("u", "p"),
                is_cluster=True,
            ),
        ),
        (
            "rediss+cluster://a/0?ca_file=/etc/ca.pem",
            Address((Endpoint("a", 6379),), tls=True, ca_file="/etc/ca.pem", is_cluster=True),
        ),
    ],
)
def test_every_form_is_read(url: str, expected: Address) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "begins with redis://"),
        ("memory://", "begins with redis://"),
        ("redis-cluster://s3cret@h", "begins with redis://"),
        ("redis+cluster://s3cret@h", "user:password"),
        ("redis+cluster://a,,b", "each host between commas"),
        ("redis+cluster://a/1", "the database 0 alone"),
        ("redis+cluster://a/s3cret", "the database 0 alone"),
        ("redis+cluster://a?db=1", "options ca_file"),
        ("redis://[s3cret", "begins with redis://"),
        ("redis://", "names a host"),
        ("redis://:s3cret@", "names a host"),
        ("redis://h:0", "names a host"),
        ("redis://h:s3cret", "not a host with a port"),
        ("redis://h:65536", "not a host with a port"),
        ("redis://s3cret@h", "user:password"),
        ("redis://h/s3cret", "is a number"),
        ("redis://h/1?db=1", "its database once"),
        ("redis://h?s3cret", "name=value"),
        ("redis://h?s3cret=1", "options ca_file, db"),
        ("redis://h?sentinel_password=s3cret", "options ca_file, db"),
        ("redis://h?ca_file=s3cret", "is for rediss"),
        ("redis+sentinel://a,b", "names the primary"),
        ("redis+sentinel://a,b/", "names the primary"),
        ("redis+sentinel://a,b/s3cret/1", "names the primary"),
        ("redis+sentinel://a,,b/main", "each host between commas"),
        ("redis+sentinel://a/main?db=s3cret", "is a number"),
        ("redis+sentinel://a/main?db=²", "is a number"),
    ],
)
def test_anything_else_is_refused_in_words_that_hold_nothing_of_it(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        parse_url(url)
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@given(
    url=st.text(max_size=40),
    form=st.sampled_from(["", "redis://", "rediss://a/", "redis+cluster://", "redis+sentinel://"]),
)
def test_arbitrary_text_raises_nothing_else(url: str, form: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_url(form + url).endpoints


def test_secrets_are_not_shown() -> None:
    address = parse_url("redis+sentinel://u5er:s3cret@a/main?sentinel_user=v5er&sentinel_password=s3cret")
    for secret in ("s3cret", "u5er", "v5er"):
        assert secret not in repr(address)


def test_places_read_as_people_write_them() -> None:
    assert [str(Endpoint("h", 1)), str(Endpoint("::1", 2))] == ["h:1", "[::1]:2"]
