"""How is a connection opened to the Redis that counts now, and how does one get in?

redis-py dials, does TLS, shows papers, chooses the database and asks sentinels. What is decided here is whom
to believe: the server that most sentinels of the newest configuration name, and only if it does not call
itself a replica.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import AuthenticationError, RedisError

from gateway.bus.address import Address, Papers, Place
from gateway.bus.cable import Cable, Reply, TlsCable, Word, code, is_refusal, is_tls, pack, reason, reply
from gateway.bus.refusals import Refusals
from gateway.runtime.ports import ENTRY_REFUSALS, WRITE_REFUSALS, Clock

OPEN_S: Final = 2.0
"""Within this a connection is there, let in and greeted, or is given up."""
_SENTINEL_S: Final = 0.5
"""A sentinel that says nothing for so long has no vote."""


class Unreachable(Exception):  # noqa: N818 - says how things are, not that somebody erred
    """There is no connection. Its text says why, in words that hold nothing of anybody.

    *word*: with what the server, or its TLS, refused to let this node in; None: nobody refused.
    """

    def __init__(self, why: str, word: str | None = None) -> None:
        super().__init__(why)
        self.word: Final = word


class Greeted(NamedTuple):
    """A new connection, where it leads, and what was answered to the caller's greetings."""

    cable: Cable
    place: Place
    replies: Sequence[Reply]


class _Vote(NamedTuple):
    """Whom a sentinel holds for the primary, by which configuration: each fail-over makes a higher one."""

    epoch: int
    place: Place


class Door:
    """Opens connections to one site's Redis: all of a node go through one, and so to the same server.

    Args:
        address: Where it is.
        clock: The only time.
        name: What the connections are called in the server's list of clients.
        cables: What is dialled without TLS.
        refusals: Where what the server refuses is noted; its own when None.

    Raises:
        OSError: The file of trusted certificates cannot be read.
    """

    def __init__(
        self,
        address: Address,
        clock: Clock,
        name: str = "oscc-gateway",
        cables: type[Cable] = Cable,
        refusals: Refusals | None = None,
    ) -> None:
        self._address = address
        self._clock = clock
        self._name = name
        self._cables = cables
        self._tls = ssl.create_default_context(cafile=address.ca_file) if address.tls else None
        self._present: Place | None = None
        """Whom the sentinels named last."""
        self.refusals: Final = refusals or Refusals(clock)
        """What the server refuses, noted by whoever asks through this door."""

    @property
    def moves(self) -> bool:
        """Whether :meth:`primary` may tell another place next time."""
        return self._address.service is not None

    async def open(self, greetings: Sequence[Sequence[Word]] = ()) -> Greeted:
        """Connect to the server, get in, and send *greetings*.

        Raises:
            Unreachable: It did not come about.
        """
        try:
            return await self._open(greetings)
        except Unreachable as error:
            if error.word is None:
                self.refusals.over()
            else:
                self.refusals.refused(error.word)
            raise

    async def _open(self, greetings: Sequence[Sequence[Word]]) -> Greeted:
        try:
            async with self._clock.timeout(OPEN_S):
                place = await self.primary()
                return await self._enter(place, greetings)
        except AuthenticationError as error:
            said = code(error)
            word = said if said in ENTRY_REFUSALS else "WRONGPASS"  # a server without passwords says ERR
            raise Unreachable(f"it refused AUTH: {said}", word) from None
        except RedisError as error:
            if is_refusal(error):
                raise Unreachable(f"it refused to let this node in: {code(error)}", code(error)) from None
            raise Unreachable(reason(error), "TLS" if is_tls(error) else None) from None
        except TimeoutError as error:
            raise Unreachable(reason(error)) from None

    async def primary(self) -> Place:
        """Return the server: the one of the address, or the one that the sentinels elect.

        All sentinels are asked each time: one that is cut off may still speak for the past.

        Raises:
            Unreachable: No sentinel knows.
        """
        if self._address.service is None:
            return self._address.places[0]
        async with asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(self._poll(sentinel, self._address.service))
                for sentinel in self._address.places
            ]
        votes = [vote for each in asked if (vote := each.result()) is not None]
        if not votes:
            raise Unreachable("no sentinel knows the primary")
        self._present = _elected(votes, self._present)
        return self._present

    async def _poll(self, place: Place, service: str) -> _Vote | None:
        sentinel = Redis.from_pool(self._pool(place, self._address.sentinel_papers, _SENTINEL_S))
        try:
            async with self._clock.timeout(_SENTINEL_S), sentinel:
                # it has no hints
                masters = await sentinel.execute_command("SENTINEL MASTERS")  # type: ignore[no-untyped-call]
                told = masters[service]
                if not told["is_master"] or told["is_sdown"] or told["is_odown"]:
                    return None
                return _Vote(int(told["config-epoch"]), Place(told["ip"], int(told["port"])))
        except (RedisError, OSError, LookupError, TypeError, ValueError):
            return None  # away, or nothing that speaks as a sentinel: no vote

    async def _enter(self, place: Place, greetings: Sequence[Sequence[Word]]) -> Greeted:
        pool = self._pool(place, self._address.papers, OPEN_S, self._address.db)
        cable: Cable = pool.make_connection()  # type: ignore[no-untyped-call]  # it has no hints
        try:
            await cable.connect_check_health(retry_socket_connect=False)
            # not by redis-py: for it a server that lets nobody choose a name is a reason not to come in
            named = ("CLIENT", "SETNAME", self._name)
            pong, role, _, *replies = await _asked(cable, (("PING",), ("ROLE",), named, *greetings))
            _check(pong, role)
        except BaseException:
            await cable.end()
            raise
        return Greeted(cable, place, replies)

    def _pool(self, place: Place, papers: Papers, timeout_s: float, db: int = 0) -> ConnectionPool:
        """Return what makes connections to *place*, each of which tries once."""
        pool = ConnectionPool(
            self._cables if self._tls is None else TlsCable,
            host=place.host,
            port=place.port,
            username=None if papers.password is None else papers.user,
            password=papers.password,
            db=db,
            protocol=2,
            driver_info=None,
            socket_timeout=None,
            socket_connect_timeout=timeout_s,
        )
        if self._tls is not None:
            pool.connection_kwargs["context"] = self._tls
        return pool


def _elected(votes: Sequence[_Vote], present: Place | None) -> Place:
    """Return whom most name by the newest configuration; in a tie who is it already, or any, always the same.

    A higher epoch was granted by most of all sentinels, so that one who knows it is right, and not outvoted
    by those who have yet to hear of it. Who answers, and how fast, must not move a node to and fro.
    """
    newest = max(vote.epoch for vote in votes)
    named = Counter(vote.place for vote in votes if vote.epoch == newest)
    return max(named, key=lambda place: (named[place], place == present, place))


async def _asked(cable: Cable, commands: Sequence[Sequence[Word]]) -> list[Reply]:
    await cable.send_packed_command(b"".join([pack(*words) for words in commands]), check_health=False)
    return [await reply(cable) for _ in commands]


def _check(pong: Reply, role: Reply) -> None:
    # one whose disk fails refuses PING as it refuses writes, and carries messages all the same
    if isinstance(pong, RedisError) and code(pong) not in WRITE_REFUSALS:
        raise Unreachable(f"it refused PING: {code(pong)}", code(pong))
    match role:
        case [b"slave", *_]:
            raise Unreachable("it is a replica", "READONLY")
