"""Connections reach the right Redis server; errors name the cause, without secrets."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus import BusAddress, Endpoint, RedisCredentials, RedisUnreachable, ServerFacts, parse_url
from gateway.bus.connect import OPEN_S, Connector, OpenConnection
from gateway.bus.stores import inspect
from gateway.runtime.event_loop import SystemClock
from tests.bus.peer import Peer, Words, connector, usual
from tests.doubles.clock import ManualClock
from tests.doubles.fake_redis import MemoryTransport
from tests.doubles.servers import Engine, free_port, redis_server
from tests.doubles.tasks import beside


async def opened(peer: Peer, url: str = "redis://h", *greetings: tuple[str, ...]) -> OpenConnection:
    greeted = await connector(peer, ManualClock(), url).open(greetings)
    await greeted.connection.disconnect(nowait=True)
    await ManualClock().settle()
    assert peer.open == 0
    return greeted


async def refused(peer: Peer, url: str = "redis://h") -> str:
    with pytest.raises(RedisUnreachable) as raised:
        await connector(peer, ManualClock(), url).open()
    assert peer.open == 0
    return str(raised.value)


async def test_a_phone_shows_its_token_and_sends_hello() -> None:
    peer = Peer()
    greeted = await opened(peer, "redis://u:s@h:1/3", ("PING", "x"), ("CLIENT", "INFO"))
    assert (greeted.endpoint, greeted.replies) == (Endpoint("h", 1), [b"PONG", b"OK"])
    assert peer.received == [
        (b"AUTH", b"u", b"s"),
        (b"SELECT", b"3"),
        (b"PING",),
        (b"ROLE",),
        (b"CLIENT", b"SETNAME", b"oscc-gateway"),
        (b"PING", b"x"),
        (b"CLIENT", b"INFO"),
    ]
    assert len(peer.transport.written) == 3
    assert (greeted.connection.socket_connect_timeout, greeted.connection.socket_timeout) == (OPEN_S, None)


@pytest.mark.parametrize(("turn_s", "limit_s"), [(0.1, OPEN_S), (0.5, 5.0), (30.0, 10.0)])
async def test_opening_may_take_ten_turns_of_a_late_node(turn_s: float, limit_s: float) -> None:
    class Late(ManualClock):
        async def sleep(self, seconds: float) -> None:
            self.stand_still(turn_s)
            await super().sleep(seconds)

    opened = await connector(Peer(), Late()).open()
    assert opened.connection.socket_connect_timeout == limit_s
    await opened.connection.disconnect(nowait=True)


async def test_without_credentials_and_database_none_are_shown() -> None:
    peer = Peer()
    await opened(peer)
    assert peer.received[0][0] == b"PING"
    await opened(peer, "redis://:s@h")
    assert peer.asked(b"AUTH") == [(b"AUTH", b"s")]
    sentinels = Sentinels(a="new")
    await opened(sentinels, "redis+sentinel://a:1/main?sentinel_user=v")
    assert [words for words in sentinels.questions if words[0] == b"AUTH"] == []


@pytest.mark.parametrize(
    ("verb", "answer", "says"),
    [
        (b"AUTH", b"-WRONGPASS s3cret\r\n", "it refused AUTH: WRONGPASS"),
        (b"AUTH", b"-ERR unknown command, with args: s3cret\r\n", "it refused to let this node in: ERR"),
        (b"AUTH", b"-LOADING s3cret\r\n", "it refused to let this node in: LOADING"),
        (b"SELECT", b"-ERR index s3cret\r\n", "it refused to let this node in: ERR"),
        (b"SELECT", b"-NOPERM s3cret\r\n", "it refused to let this node in: NOPERM"),
        (b"SELECT", b"-BUSY s3cret\r\n", "it refused to let this node in: BUSY"),
        (b"PING", b"-LOADING s3cret\r\n", "it refused PING: LOADING"),
        (b"PING", b"-NOAUTH s3cret\r\n", "it refused PING: NOAUTH"),
        (b"ROLE", b"*1\r\n$5\r\nslave\r\n", "it is a replica"),
        (b"ROLE", b"HTTP/1.1 400 s3cret\r\n", "its answer is not RESP"),
    ],
)
async def test_who_is_not_let_in_says_so_without_secrets(verb: bytes, answer: bytes, says: str) -> None:
    peer = Peer(lambda words: answer if words[0] == verb else usual(words))
    assert await refused(peer, "redis://:s3cret@h/1") == says


@pytest.mark.parametrize("verb", [b"ROLE", b"CLIENT"])
async def test_what_only_some_servers_or_users_may_is_not_needed(verb: bytes) -> None:
    peer = Peer(lambda words: b"-NOPERM\r\n" if words[0] == verb else usual(words))
    await opened(peer)


@pytest.mark.parametrize("is_silent", [True, False])
async def test_a_server_that_does_not_answer_is_given_up(is_silent: bool) -> None:
    clock, peer = ManualClock(), Peer(lambda _: None)
    peer.is_silent = is_silent
    received: list[str] = []

    async def try_it() -> None:
        try:
            await connector(peer, clock).open()
        except RedisUnreachable as error:
            received.append(str(error))

    async with beside(try_it()):
        await clock.advance(1.9)
        assert received == []
        await clock.advance(0.2)
    assert received == ["it did not answer in time"]
    assert peer.open == 0


# ---- sentinels ----

SENTINELS = "redis+sentinel://u:p@a:1,b:2,c:3/main?sentinel_user=v&sentinel_password=q"


class Sentinels(Peer):
    """Three sentinels by host, each of its own opinion, and the servers that they know.

    An opinion is who is primary; empty: nobody knows; None: the sentinel is away; a sentinel may also say
    something else, or of its primary that it is down.
    """

    def __init__(self, **opinions: str | bytes | None) -> None:
        super().__init__()
        self.opinions = opinions
        self.questions: list[Words] = []

    async def dial(self, protocol: asyncio.Protocol, place: Endpoint) -> MemoryTransport:
        opinion = self.opinions.get(place.host, "")
        if opinion is None:
            raise ConnectionRefusedError
        return self.connected(protocol, lambda words: self._opinion(words, opinion))

    def _opinion(self, words: Words, opinion: str | bytes) -> bytes | None:
        self.questions.append(words)
        if words[0] != b"SENTINEL":
            return usual(words)
        if isinstance(opinion, bytes):
            return opinion
        return masters(opinion) if opinion else b"*0\r\n"


def masters(host: str, flags: str = "master", epoch: int = 1) -> bytes:
    """Return what a sentinel says of its only primary."""
    place, numbers = ("ip", host, "port", "7"), ("config-epoch", str(epoch), "num-other-sentinels", "2")
    received = ("name", "main", *place, "flags", flags, *numbers)
    return b"*1\r\n*%d\r\n" % len(received) + b"".join(
        b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in received
    )


async def test_the_primary_is_where_most_sentinels_say() -> None:
    peer = Sentinels(a="old", b="new", c="new")
    greeted = await opened(peer, SENTINELS)
    assert greeted.endpoint == Endpoint("new", 7)
    assert (b"AUTH", b"v", b"q") in peer.questions
    assert (b"SENTINEL", b"MASTERS") in peer.questions
    assert (b"AUTH", b"u", b"p") in peer.questions


async def test_one_sentinel_that_knows_is_enough() -> None:
    peer = Sentinels(a=None, b="", c="new")
    assert (await opened(peer, SENTINELS)).endpoint == Endpoint("new", 7)


@pytest.mark.parametrize(
    "said",
    [
        masters("old", "master,s_down"),
        masters("old", "master,o_down"),
        masters("old").replace(b"main", b"else"),
        masters("old").replace(b"config-epoch", b"other-number"),
        masters("old").replace(b"$1\r\n1\r\n", b"$1\r\nx\r\n"),
        b"*1\r\n*1\r\n$4\r\nname\r\n",
        b"*1\r\n:1\r\n",
        b":1\r\n",
        b"+\xff\r\n",
        b"-NOPERM x\r\n",
        b"HTTP/1.1 400\r\n",
    ],
)
async def test_a_sentinel_that_knows_no_primary_that_lives_has_no_vote(said: bytes) -> None:
    assert (await opened(Sentinels(a=said, b=said, c="new"), SENTINELS)).endpoint == Endpoint("new", 7)


async def test_a_sentinel_that_is_silent_has_no_vote() -> None:
    clock, peer = ManualClock(), Sentinels(a=b"", b="new", c="")
    async with beside(connector(peer, clock, SENTINELS).primary()) as task:
        await clock.advance(0.4)
        assert not task.done()
        await clock.advance(0.2)
    assert await task == Endpoint("new", 7)
    assert peer.open == 0


class Slow(Sentinels):
    """Sentinels one of whom answers later than the others."""

    def __init__(self, clock: ManualClock, slow: str, **opinions: str | bytes | None) -> None:
        super().__init__(**opinions)
        self._clock, self._slow = clock, slow

    async def dial(self, protocol: asyncio.Protocol, place: Endpoint) -> MemoryTransport:
        if place.host == self._slow:
            await self._clock.sleep(0.1)
        return await super().dial(protocol, place)


async def test_in_a_tie_it_does_not_count_who_answers_first() -> None:
    named: set[Endpoint] = set()
    for slow in ("a", "b"):
        clock = ManualClock()
        peer = Slow(clock, slow, a="one", b="other", c=None)
        async with beside(connector(peer, clock, SENTINELS).primary()) as task:
            await clock.advance(0.2)
        named.add(await task)
    assert len(named) == 1


async def test_in_a_tie_the_present_primary_stays() -> None:
    peer = Sentinels()
    asked = connector(peer, ManualClock(), SENTINELS)
    named: list[str] = []
    for opinions in (("one", "one"), ("one", "other"), ("other", "other"), ("one", "other")):
        peer.opinions = dict(zip("ab", opinions, strict=True))
        named.append((await asked.primary()).host)
    assert named == ["one", "one", "other", "other"]


async def test_who_knows_of_a_later_fail_over_is_right() -> None:
    peer = Sentinels(a=masters("old", epoch=9), b=masters("old", epoch=9), c=masters("new", epoch=10))
    asked = connector(peer, ManualClock(), SENTINELS)
    assert await asked.primary() == Endpoint("new", 7)
    peer.opinions = {"a": masters("old", epoch=9), "b": None, "c": masters("new", epoch=10)}
    assert await asked.primary() == Endpoint("new", 7)


async def test_without_a_sentinel_that_knows_there_is_no_way() -> None:
    assert await refused(Sentinels(a=None, b=None, c=""), SENTINELS) == "no sentinel knows the primary"


async def test_only_sentinels_may_tell_another_place_next_time() -> None:
    peer = Peer()
    assert (
        connector(peer, ManualClock()).has_sentinels,
        connector(peer, ManualClock(), SENTINELS).has_sentinels,
    ) == (
        False,
        True,
    )


# ---- TLS ----


async def test_a_listener_without_tls_is_distinguished_from_one_that_nobody_trusts() -> None:
    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    port = free_port()
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        with pytest.raises(RedisUnreachable, match=r"^TLS failed: [A-Z_]+$"):
            await Connector(parse_url(f"rediss://127.0.0.1:{port}"), SystemClock()).open()


async def test_a_file_of_certificates_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Connector(parse_url(f"rediss://h?ca_file={tmp_path / 'none.pem'}"), ManualClock())


# ---- forms of a bus URL ----


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", BusAddress((Endpoint("h", 6379),))),
        ("redis://h:1", BusAddress((Endpoint("h", 1),))),
        ("redis://h:1/3", BusAddress((Endpoint("h", 1),), db=3)),
        ("redis://h:1/?db=3", BusAddress((Endpoint("h", 1),), db=3)),
        ("redis://:s3@h", BusAddress((Endpoint("h", 6379),), RedisCredentials(None, "s3"))),
        ("redis://u:s%40%3a@h", BusAddress((Endpoint("h", 6379),), RedisCredentials("u", "s@:"))),
        ("redis://u:a@b@h", BusAddress((Endpoint("h", 6379),), RedisCredentials("u", "a@b"))),
        ("redis://[::1]:7", BusAddress((Endpoint("::1", 7),))),
        ("rediss://h", BusAddress((Endpoint("h", 6379),), tls=True)),
        (
            "rediss://h?ca_file=/etc/ca.pem",
            BusAddress((Endpoint("h", 6379),), tls=True, ca_file="/etc/ca.pem"),
        ),
        (
            "redis+sentinel://u:p@a:1,b/main?db=2&sentinel_user=v&sentinel_password=q%26",
            BusAddress(
                (Endpoint("a", 1), Endpoint("b", 26379)),
                RedisCredentials("u", "p"),
                "main",
                RedisCredentials("v", "q&"),
                db=2,
            ),
        ),
        (
            "rediss+sentinel://[::1]:1,[::2]/main",
            BusAddress((Endpoint("::1", 1), Endpoint("::2", 26379)), service="main", tls=True),
        ),
        (
            "redis+cluster://u:p@a:1,b,[::1]:2",
            BusAddress(
                (Endpoint("a", 1), Endpoint("b", 6379), Endpoint("::1", 2)),
                RedisCredentials("u", "p"),
                is_cluster=True,
            ),
        ),
        (
            "rediss+cluster://a/0?ca_file=/etc/ca.pem",
            BusAddress((Endpoint("a", 6379),), tls=True, ca_file="/etc/ca.pem", is_cluster=True),
        ),
    ],
)
def test_every_form_is_read(url: str, expected: BusAddress) -> None:
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
        ("redis://[s3cret", "not a host with a port"),
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


# ---- checks of a server ----


CLOCK = SystemClock()
KEEPS = {"snapshots": ("--save", "60 1"), "log": ("--appendonly", "yes"), "nothing": ()}


@pytest.mark.parametrize("engine", list(Engine), ids=lambda engine: engine.value)
async def test_a_server_describes_itself(engine: Engine) -> None:
    async with redis_server("--maxmemory-policy", "noeviction", engine=engine) as server:
        found = await inspect(parse_url(server.url), CLOCK)
    assert found.endpoint == Endpoint("127.0.0.1", server.port)
    assert found.engine == engine.value.capitalize()
    assert found.version > (7, 2)
    assert (found.persists, found.evicts, found.is_too_old) == (False, False, False)
    assert found.clock_offset_s == pytest.approx(0, abs=0.5)


async def test_a_node_reaches_it_on_the_loop_that_nodes_have() -> None:
    async with redis_server() as server:
        found = await asyncio.to_thread(lambda: uvloop.run(inspect(parse_url(server.url), CLOCK)))
    assert found.engine is not None


@pytest.mark.parametrize("kept", list(KEEPS))
async def test_one_that_keeps_what_it_is_given_is_found_out(kept: str) -> None:
    async with redis_server(*KEEPS[kept]) as server:
        found = await inspect(parse_url(server.url), CLOCK)
    assert found.persists is (kept != "nothing")


async def test_one_that_forgets_when_it_is_full_is_found_out() -> None:
    async with redis_server("--maxmemory-policy", "volatile-lru") as server:
        assert (await inspect(parse_url(server.url), CLOCK)).evicts is True


@pytest.mark.parametrize("kept", ["log", "nothing"])
async def test_what_the_user_may_not_ask_is_unknown(kept: str) -> None:
    async with redis_server(*KEEPS[kept]) as server:
        await server.command("ACL", "SETUSER", "gw", "on", ">secret", "+ping", "+role", "+info")
        url = f"redis://gw:secret@127.0.0.1:{server.port}"
        found = await inspect(parse_url(url), CLOCK)
    assert found.engine is not None  # HELLO is nobody forbidden
    # only a log of commands shows in what INFO reports
    assert found.persists is (True if kept == "log" else None)
    assert (found.evicts, found.clock_offset_s) == (None, None)


@pytest.mark.parametrize(
    ("engine", "version", "is_too_old"),
    [
        ("Redis", (7, 0, 15), True),
        ("Redis", (7, 2), False),
        ("Redis", (8, 0, 2), False),
        ("Valkey", (7, 2, 9), True),
        ("Valkey", (8, 0, 0), False),
        (None, (), False),
    ],
)
def test_old_versions_are_known(engine: str | None, version: tuple[int, ...], is_too_old: bool) -> None:
    assert ServerFacts(Endpoint("h", 1), engine, version, None, None, None).is_too_old is is_too_old
