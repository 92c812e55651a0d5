"""Connections to Redis: Sentinel election, login, names of keys, and errors without secrets.

redis-py connects, does TLS, logs in and parses with hiredis; its public methods alone are used. A node
connects to the server that most sentinels of the newest configuration name, unless that is a replica.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, cast

import hiredis
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from redis.asyncio import Connection, SSLConnection
from redis.exceptions import AuthenticationError, InvalidResponse, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gateway.bus import BusAddress, Endpoint, RedisCredentials, RedisUnreachable
from gateway.core.lease import TTL_S
from gateway.domain.errors import ErrorCode, GatewayError, MappedErrors
from gateway.domain.model import UserId
from gateway.protocol.envelopes import BusChannel, Control, Events, Inbox
from gateway.runtime.ports import ENTRY_REFUSALS, NODE_TTL_S, WRITE_REFUSALS, Clock

REFUSAL_S: Final = 6.0
"""How long a refusal counts at least. A lasting refusal is repeated sooner, by the next connection or
trial.
"""
CONTROL: Final = b"og:ctl"
LIVES: Final = b"og:life"
"""The channel on which nodes prove that they run."""
UNEXPECTED: Final = "it answered something else"
TRIAL: Final = b"og:trial"
TRIAL_WRITE: Final = ("SET", TRIAL, b"1", "PX", 1_000)
"""The command that shows whether the server accepts writes: it is refused when any write is."""
NODES: Final = b"og:node:*"
"""The pattern of what :meth:`KeyNames.node` returns."""
LOG_OFFS: Final = b"og:{off}"
"""The index of all unconfirmed log-offs."""
LOG_OFF: Final = b"og:{off}:"
_KEY_BYTES: Final = 32
_LABEL: Final = b"bus names"
_HASH_CHARS: Final = 32
"""128 bits: without the key no user can be found for a name, and no two users share one."""
_USERS_MAX: Final = 100_000


class UserKeys(NamedTuple):
    """Names of what one user has in Redis: lease, fence floor, and the channel of changes."""

    own: bytes
    tok: bytes
    events: bytes


class KeyNames:
    """Names of keys and channels in Redis: users, sessions and throttled names appear as HMACs.

    The key of the HMACs is derived from the pseudonym key and like it never rotates: all nodes of all
    versions use the same names. The braces in names are hash tags: in a Redis Cluster all keys of a user are
    in one slot. Pure; caches the names of the last users.

    Args:
        pseudonym_key: 32 secret bytes, the same on all nodes.

    Raises:
        ValueError: It has another length.
    """

    def __init__(self, pseudonym_key: bytes) -> None:
        if len(pseudonym_key) != _KEY_BYTES:
            raise ValueError("a pseudonym key has 32 bytes")
        self._key = HKDF(SHA256(), _KEY_BYTES, salt=None, info=_LABEL).derive(pseudonym_key)
        self._users: dict[UserId, UserKeys] = {}

    def user(self, user: UserId) -> UserKeys:
        """Return the names of what *user* has."""
        known = self._users.get(user)
        if known is None:
            stem = f"og:{{u:{user.site}:{self._hash('user', f'{user.site}:{user.key}')}}}:".encode()
            known = UserKeys(stem + b"own", stem + b"tok", stem + b"ev")
            if len(self._users) >= _USERS_MAX:
                self._users.clear()
            self._users[user] = known
        return known

    def channel(self, channel: BusChannel) -> bytes:
        """Return the name of *channel*."""
        match channel:
            case Events(user):
                return self.user(user).events
            case Inbox(node):
                return f"og:n:{node}:in".encode()
            case Control():
                return CONTROL

    def node(self, holder: str) -> bytes:
        """Return the key of the record of the node that holds leases as *holder*."""
        return f"og:node:{holder}".encode()

    def pseudonym(self, text: str) -> str:
        """Return the keyed hash that stands for a user or a session where only its end is remembered."""
        return self._hash("deny", text)

    def denied(self, handle: str) -> bytes:
        """Return the key of the reason why the session *handle* ended."""
        return self.denied_by(self.pseudonym(handle))

    def denied_by(self, pseudonym: str) -> bytes:
        """Return the same key for the pseudonym of the session's handle."""
        return f"og:deny:{pseudonym}".encode()

    def throttled(self, name: str) -> bytes:
        """Return the key of the counter of *name*."""
        return f"og:thr:{self._hash('thr', name)}".encode()

    def reservation(self, name: str, entry: str) -> tuple[bytes, bytes]:
        """Return the key of the reservations of *name*, and *entry* there, which only a node can write so."""
        return (
            f"og:try:{self._hash('try', name)}".encode(),
            f"{entry} {self._hash('try', f'{name} {entry}')}".encode(),
        )

    def log_off(self, handle: str) -> tuple[bytes, bytes]:
        """Return the index entry and the key of the unconfirmed log-off of the session *handle*."""
        member = self._hash("off", handle).encode()
        return member, self.listed_log_off(member)

    def listed_log_off(self, member: bytes) -> bytes:
        """Return the key of the log-off with the index entry *member*."""
        return LOG_OFF + member

    def __repr__(self) -> str:
        return f"KeyNames({len(self._users)} users)"

    def _hash(self, kind: str, text: str) -> str:
        return hmac.digest(self._key, f"{kind}:{text}".encode(), "sha256").hex()[:_HASH_CHARS]


class BusKeys(NamedTuple):
    """The cluster's secrets that the bus needs, 32 bytes each.

    *sealing*: (id, secret) of each key: the first seals, all open.
    """

    sealing: Sequence[tuple[str, bytes]]
    pseudonym: bytes

    def __repr__(self) -> str:
        return "BusKeys(…)"


class Lifetimes(NamedTuple):
    """How many seconds things last.

    Attributes:
        lease_s: A lease that is not renewed.
        node_s: A node's record that is not renewed.
        refusal_s: A refusal of the server, at least.
        trial_s: From one trial write to the next; less than *refusal_s*.
    """

    lease_s: float = TTL_S
    node_s: float = NODE_TTL_S
    refusal_s: float = REFUSAL_S
    trial_s: float = 3.0


class Refusals:
    """The first words of the server's refusals that are in force, as ``OOM``.

    Invariant: a word is in force for *lasts_s* after the last refusal with it, and beyond that until the
    server accepts a write or is unreachable. Bounded: unknown words are ignored.

    Args:
        lasts_s: How long a refusal counts at least.
    """

    def __init__(self, clock: Clock, lasts_s: float = REFUSAL_S) -> None:
        self._clock = clock
        self._lasts_s = lasts_s
        self._said_at: dict[str, float] = {}
        self._cleared_at = -math.inf

    def add(self, word: str) -> None:
        """Record that the server refused something with *word*."""
        if word in ENTRY_REFUSALS or word in WRITE_REFUSALS:
            self._said_at[word] = self._clock.now()

    def clear(self) -> None:
        """Record that the server accepted a write, or is unreachable and refuses nothing."""
        self._cleared_at = self._clock.now()

    @property
    def present(self) -> frozenset[str]:
        """The words that are in force."""
        since = min(self._cleared_at, self._clock.now() - self._lasts_s)
        return frozenset(word for word, at in self._said_at.items() if at > since)


def bus_down(why: str) -> GatewayError:
    """Return the error of everything that got no answer from Redis."""
    return GatewayError(ErrorCode.BUS_DOWN, f"the bus gave no answer: {why}")


OPEN_S: Final = 2.0
"""The time to connect, log in and answer the first commands."""
_OPEN_TURNS: Final = 10
"""It may last so many turns of the event loop in any case: each answer waits for its turn."""
_OPEN_MAX_S: Final = 10.0
CLOSED: Final = "it closed the connection"
Word = bytes | str | int
Reply = object
"""``int``, ``bytes``, ``None``, a list of these, or a refusal: a :class:`redis.exceptions.RedisError`."""

ASK_AT_S: Final = 0.5
"""Time limit for one query of a server on its own connection."""
_SENTINEL_S: Final = 0.5
"""Time limit for a query of a sentinel; a slower sentinel has no vote."""
_SOCKET_OPTIONS: Final = {socket.TCP_USER_TIMEOUT: 2_000} if hasattr(socket, "TCP_USER_TIMEOUT") else {}
"""Data that a server has not accepted after 2 s is dropped by the kernel, also after the connection was
closed.
"""
# ---- connections ----


def _explained(error: Exception) -> Exception:
    """Return the exception for an error while a connection is opened: the meaning of redis-py's error."""
    match error:
        case AuthenticationError():
            error_code = code(error)
            # a server without passwords answers ERR
            word = error_code if error_code in ENTRY_REFUSALS else "WRONGPASS"
            return RedisUnreachable(f"it refused AUTH: {error_code}", word)
        case RedisError() if is_refusal(error):
            return RedisUnreachable(f"it refused to let this node in: {code(error)}", code(error))
        case RedisError():
            is_tls = isinstance(_beneath(error), ssl.SSLError)
            return RedisUnreachable(reason(error), "TLS" if is_tls else None)
        case TimeoutError():
            return RedisUnreachable(reason(error))
        case _:
            return error


class OpenConnection(NamedTuple):
    """A new connection, its server, and the replies to the caller's first commands."""

    connection: Connection
    endpoint: Endpoint
    replies: Sequence[Reply]


class _Vote(NamedTuple):
    """The primary that a sentinel names, and by which configuration: each fail-over makes a higher one."""

    epoch: int
    endpoint: Endpoint


class Connector:
    """Opens connections to the server of one address; all connections of a node use the same one.

    Args:
        address: The server, or its sentinels.
        name: The name of the connections in the server's list of clients.
        connections: The class of connections without TLS.
        refusals: Records what the server refuses; its own when None.
        locate: Returns the server, or raises :class:`RedisUnreachable`; None: *address* is enough.

    Raises:
        OSError: The file of trusted certificates cannot be read.
    """

    def __init__(
        self,
        address: BusAddress,
        clock: Clock,
        name: str = "oscc-gateway",
        connections: type[Connection] = Connection,
        refusals: Refusals | None = None,
        locate: Callable[[], Awaitable[Endpoint]] | None = None,
    ) -> None:
        self._address = address
        self._locate = locate
        self._clock = clock
        self._name = name
        self._connections = connections
        self._tls = ssl.create_default_context(cafile=address.ca_file) if address.tls else None
        self._elected: Endpoint | None = None
        """The primary in the newest answer of the sentinels."""
        self.refusals: Final = refusals or Refusals(clock)
        """Refusals of the server on any connection that was opened here."""

    @property
    def has_sentinels(self) -> bool:
        """Whether :meth:`primary` may return another endpoint next time."""
        return self._address.service is not None

    async def open(self, first: Sequence[Sequence[Word]] = ()) -> OpenConnection:
        """Connect to the server, log in, and send the commands *first*.

        Raises:
            RedisUnreachable: There is no connection.
        """
        try:
            return await self._open(first)
        except RedisUnreachable as error:
            if error.word is None:
                self.refusals.clear()
            else:
                self.refusals.add(error.word)
            raise

    async def _open(self, first: Sequence[Sequence[Word]]) -> OpenConnection:
        with MappedErrors(Exception, _explained):
            limit_s = await self._limit_s()
            async with self._clock.timeout(limit_s):
                return await self._opened(first, limit_s)

    async def _limit_s(self) -> float:
        """Return how long opening may take: longer on a node whose turns of the event loop are long."""
        began = self._clock.now()
        await self._clock.sleep(0)
        return max(OPEN_S, min(_OPEN_TURNS * (self._clock.now() - began), _OPEN_MAX_S))

    async def _opened(self, first: Sequence[Sequence[Word]], limit_s: float) -> OpenConnection:
        endpoint = await self.primary()
        commands = (("PING",), ("ROLE",), ("CLIENT", "SETNAME", self._name), *first)
        credentials, db = self._address.credentials, self._address.db
        async with self._connected(endpoint, credentials, db, limit_s) as found:
            # SETNAME is not left to redis-py, which gives up where a server does not allow it
            pong, role, _, *replies = await _replies(found, commands)
            _check(pong, role)
        return OpenConnection(found, endpoint, replies)

    async def ask_at(self, endpoint: Endpoint, *commands: Sequence[Word]) -> Sequence[Reply]:
        """Query the server at *endpoint* on its own connection, which ends then; bounded in time.

        Raises:
            RedisUnreachable: It did not answer, or refused this node.
        """
        with MappedErrors(Exception, _explained):
            async with (
                self._clock.timeout(ASK_AT_S),
                self._connected(endpoint, self._address.credentials, 0, ASK_AT_S) as asked,
            ):
                replies = await _replies(asked, commands)
                await asked.disconnect(nowait=True)
        return replies

    async def primary(self) -> Endpoint:
        """Return the server: of the address, of *locate*, or the one that the sentinels elect.

        All sentinels are queried each time: one that is cut off may still name a former primary.

        Raises:
            RedisUnreachable: No sentinel names one.
        """
        if self._locate is not None:
            return await self._locate()
        if self._address.service is None:
            return self._address.endpoints[0]
        async with asyncio.TaskGroup() as tasks:
            polls = [
                tasks.create_task(self._poll(sentinel, self._address.service.encode()))
                for sentinel in self._address.endpoints
            ]
        votes = [vote for poll in polls if (vote := poll.result()) is not None]
        if not votes:
            raise RedisUnreachable("no sentinel knows the primary")
        self._elected = _winner(votes, self._elected)
        return self._elected

    async def _poll(self, sentinel: Endpoint, service: bytes) -> _Vote | None:
        """Return the vote of *sentinel*; None: it is away, or names no primary that is up."""
        try:
            async with (
                self._clock.timeout(_SENTINEL_S),
                self._connected(sentinel, self._address.sentinel_credentials, 0, _SENTINEL_S) as asked,
            ):
                (answer,) = await _replies(asked, (("SENTINEL", "MASTERS"),))
                await asked.disconnect(nowait=True)
            return _vote(answer, service)
        except (RedisError, OSError, LookupError, TypeError, ValueError):
            return None

    @asynccontextmanager
    async def _connected(
        self, endpoint: Endpoint, credentials: RedisCredentials, db: int, timeout_s: float
    ) -> AsyncIterator[Connection]:
        """Connect and log in; the connection ends with the block only if the block fails."""
        connection = self._connection(
            host=endpoint.host,
            port=endpoint.port,
            username=None if credentials.password is None else credentials.user,
            password=credentials.password,
            db=db,
            protocol=2,
            driver_info=None,
            socket_timeout=None,
            socket_connect_timeout=timeout_s,
            socket_keepalive=True,
            socket_keepalive_options=_SOCKET_OPTIONS,
        )
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # it has no hints
            yield connection
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    def _connection(self, **options: Any) -> Connection:  # noqa: ANN401 - redis-py's own
        if self._tls is None:
            return self._connections(**options)
        connection = SSLConnection(**options)
        # redis-py's own context is made for each connection, and trusts the machine's list beside a file
        connection.ssl_context.context = self._tls
        return connection


def _vote(masters: Reply, service: bytes) -> _Vote | None:
    """Return what a sentinel's answer to ``SENTINEL MASTERS`` says of *service*."""
    if not isinstance(masters, list):
        return None
    known = {
        fields[b"name"]: fields for fields in (dict(zip(one[::2], one[1::2], strict=True)) for one in masters)
    }
    fields = known[service]
    flags = fields[b"flags"].split(b",")
    if b"master" not in flags or b"s_down" in flags or b"o_down" in flags:
        return None
    return _Vote(int(fields[b"config-epoch"]), Endpoint(fields[b"ip"].decode(), int(fields[b"port"])))


def _winner(votes: Sequence[_Vote], elected: Endpoint | None) -> Endpoint:
    """Return the endpoint that most votes of the newest configuration name; ties keep *elected*.

    Most of all sentinels granted a higher epoch, so a sentinel with that epoch is right, and is not outvoted
    by those that have not received it yet. Which sentinels answer, and how fast, must not move a node.
    """
    newest = max(vote.epoch for vote in votes)
    named = Counter(vote.endpoint for vote in votes if vote.epoch == newest)
    return max(named, key=lambda endpoint: (named[endpoint], endpoint == elected, endpoint))


async def _replies(connection: Connection, commands: Sequence[Sequence[Word]]) -> list[Reply]:
    await connection.send_packed_command(b"".join(pack(*words) for words in commands), check_health=False)
    return [await next_reply(connection) for _ in commands]


def _check(pong: Reply, role: Reply) -> None:
    # a server whose disk fails refuses PING as it refuses writes, and carries messages all the same
    if isinstance(pong, RedisError) and code(pong) not in WRITE_REFUSALS:
        raise RedisUnreachable(f"it refused PING: {code(pong)}", code(pong))
    match role:
        case [b"slave", *_]:
            raise RedisUnreachable("it is a replica", "READONLY")


# ---- commands, replies, errors ----


def pack(*words: Word) -> bytes:
    """Return a command as Redis reads it."""
    return cast("bytes", hiredis.pack_command(words))  # type: ignore[arg-type]  # its hint means one word


async def next_reply(connection: Connection) -> Reply:
    """Return the next reply, refusals included.

    Raises:
        RedisError: The connection has ended; :func:`reason` says why.
    """
    try:
        answer: Reply = await connection.read_response(disconnect_on_error=False)
    except RedisError as error:
        if not is_refusal(error):
            raise
        return error.with_traceback(None)  # stored as an answer: without the frames that read it
    return answer


def is_refusal(error: RedisError) -> bool:
    """Return whether the server sent it, also where redis-py takes it for the end of a connection."""
    return isinstance(error, ResponseError) or error.status_code is not None


def code(refusal: RedisError) -> str:
    """Return the first word of a refusal, as ``NOAUTH``. The rest may quote what was sent."""
    return refusal.status_code or str(refusal).partition(" ")[0]


def reason(error: BaseException) -> str:
    """Return why a connection failed or ended, without text of the server."""
    match _beneath(error):
        case TimeoutError() | RedisTimeoutError():
            return "it did not answer in time"
        case ssl.SSLCertVerificationError() as untrusted:
            return f"its certificate is not trusted: {untrusted.verify_message}"
        case ssl.SSLError() as failed:
            return f"TLS failed: {failed.reason}"
        case ConnectionRefusedError():
            return "it refused the connection"
        case socket.gaierror():
            return "its host name cannot be resolved"
        case ConnectionError() | RuntimeError():
            return "the connection broke"
        case RedisError() as ended:
            return "its answer is not RESP" if isinstance(ended, InvalidResponse) else CLOSED
        case _:
            return "it cannot be reached"


def _beneath(error: BaseException) -> BaseException:
    """Return the cause or context of redis-py's error, which itself only names the place."""
    beneath = error.__cause__ or error.__context__
    is_within = isinstance(error, RedisError) and isinstance(beneath, OSError | UnicodeError)
    return beneath if is_within and beneath is not None else error
