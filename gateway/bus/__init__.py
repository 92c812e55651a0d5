"""Bus: the URL that names its Redis servers, and the facts that a check of them finds.

``redis://[user:password@]host[:port][/db]``, ``rediss://…`` with TLS, and for a primary that Sentinel
elects ``redis+sentinel://[user:password@]host[:port],host[:port]…/name[?db=0]`` (``rediss+sentinel://``
with TLS, to the sentinels as well), and for a Redis Cluster ``redis+cluster://[user:password@]host[:port],…``
(``rediss+cluster://`` with TLS), whose hosts are any of its nodes. Options behind ``?``: ``db``; ``ca_file``
for TLS; ``sentinel_user`` and ``sentinel_password`` for sentinels that require a login. Users and passwords
are percent-encoded.

A node without Redis loads nothing else of the package but :mod:`gateway.bus.memory` and
:mod:`gateway.bus.sealing`: redis-py takes 7 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from gateway.domain.model import NodeId

NOBODY: Final = NodeId("")
"""The name of a bus that receives for no node, as used by an operator's command."""
_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_FORMS: Final = (
    "redis://, rediss://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://"
)
_DIRECT: Final = frozenset({"db", "ca_file"})
_OPTIONS: Final = {
    "": _DIRECT,
    "sentinel": _DIRECT | {"sentinel_user", "sentinel_password"},
    "cluster": frozenset({"ca_file"}),
}
"""The options of each form, by what follows the plus of its scheme."""


class Endpoint(NamedTuple):
    """Host and port of a server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RedisCredentials:
    """User and password of a server. Its repr shows neither."""

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class BusAddress:
    """A parsed bus URL.

    Attributes:
        endpoints: The server, the sentinels that know it, or nodes of the Redis Cluster.
        credentials: For the server.
        service: The name of the primary at the sentinels; None: *endpoints* is the one server.
        sentinel_credentials: For the sentinels.
        tls: Whether every connection uses verified TLS.
        ca_file: The trusted certificates, instead of the machine's own list.
        db: The number of the database. Channels do not depend on it.
        is_cluster: Whether *endpoints* are nodes of a Redis Cluster.
    """

    endpoints: tuple[Endpoint, ...]
    credentials: RedisCredentials = RedisCredentials()
    service: str | None = None
    sentinel_credentials: RedisCredentials = RedisCredentials()
    tls: bool = False
    ca_file: str | None = None
    db: int = 0
    is_cluster: bool = False


def parse_url(url: str) -> BusAddress:
    """Parse a bus URL.

    Raises:
        ValueError: It is no bus URL. The text quotes nothing of it but names of options.
    """
    split = _split(url)
    scheme, _, suffix = split.scheme.partition("+")
    if scheme not in {"redis", "rediss"} or suffix not in _OPTIONS:
        raise ValueError(f"a bus URL begins with {_FORMS}")
    if "@" in split.path or split.fragment or ("@" in split.query and "@" not in split.netloc):
        raise ValueError(
            "in the user and the password of a bus URL / is written %2F, # is %23, ? is %3F and @ is %40; or "
            "the password is given as bus.password, where it stands as it is"
        )
    options = _options(split, _OPTIONS[suffix])
    tls = scheme == "rediss"
    if "ca_file" in options and not tls:
        raise ValueError("ca_file is for rediss://, rediss+sentinel:// and rediss+cluster://")
    return replace(_BY_FORM[suffix](split, options), tls=tls, ca_file=options.get("ca_file"))


def _split(url: str) -> SplitResult:
    """Split a URL that may name several hosts, of which Python's own function refuses some in brackets."""
    scheme, _, rest = url.partition("://")
    rest, _, fragment = rest.partition("#")
    rest, _, query = rest.partition("?")
    netloc, slash, path = rest.partition("/")
    return SplitResult(scheme.lower(), netloc, slash + path, query, fragment)


def _direct(split: SplitResult, options: Mapping[str, str]) -> BusAddress:
    credentials, host = _credentials_and_hosts(split.netloc)
    path = unquote(split.path.removeprefix("/"))
    if path and "db" in options:
        raise ValueError("a bus URL names its database once")
    return BusAddress((_endpoint(host, _PORT),), credentials, db=_db(path or options.get("db", "0")))


def _by_sentinel(split: SplitResult, options: Mapping[str, str]) -> BusAddress:
    credentials, hosts = _credentials_and_hosts(split.netloc)
    return BusAddress(
        endpoints=tuple(_endpoint(host, _SENTINEL_PORT) for host in hosts.split(",")),
        credentials=credentials,
        service=_service(unquote(split.path.removeprefix("/"))),
        sentinel_credentials=RedisCredentials(options.get("sentinel_user"), options.get("sentinel_password")),
        db=_db(options.get("db", "0")),
    )


def _in_cluster(split: SplitResult, _: Mapping[str, str]) -> BusAddress:
    credentials, hosts = _credentials_and_hosts(split.netloc)
    if split.path not in {"", "/", "/0"}:
        raise ValueError("a Redis Cluster has the database 0 alone")
    endpoints = tuple(_endpoint(host, _PORT) for host in hosts.split(","))
    return BusAddress(endpoints, credentials, is_cluster=True)


_BY_FORM: Final = {"": _direct, "sentinel": _by_sentinel, "cluster": _in_cluster}


def _options(split: SplitResult, known: frozenset[str]) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(split.query, keep_blank_values=True, strict_parsing=bool(split.query))
    except ValueError:
        raise ValueError("options of a bus URL are name=value, joined by &") from None
    for name, _ in pairs:
        if name not in known:
            raise ValueError(f"a bus URL of this form has the options {', '.join(sorted(known))}")
    return dict(pairs)


def _credentials_and_hosts(netloc: str) -> tuple[RedisCredentials, str]:
    secret, _, hosts = netloc.rpartition("@")
    if not secret:
        return RedisCredentials(), hosts
    user, colon, password = secret.partition(":")
    if not colon:
        raise ValueError(
            "a bus URL has user:password, or :password, in front of its last @; inside of them @ is written "
            "%40, or the password is given as bus.password"
        )
    return RedisCredentials(unquote(user) or None, unquote(password)), hosts


def _endpoint(text: str, port: int) -> Endpoint:
    try:
        split = urlsplit(f"//{text}")
        found = Endpoint(split.hostname or "", port if split.port is None else split.port)
    except ValueError:
        raise ValueError("a host of a bus URL is not a host with a port") from None
    if not found.host or not found.port > 0:
        raise ValueError("a bus URL names a host, and with sentinels or a cluster each host between commas")
    return found


def _service(path: str) -> str:
    if not path or "/" in path:
        raise ValueError("a bus URL with sentinels names the primary as they call it: …/mymaster")
    return path


def _db(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("the database of a bus URL is a number")
    return int(text)


# ---- the check of a server ----

OLDEST: Final = {"Redis": (7, 2), "Valkey": (8, 0)}


class RedisUnreachable(Exception):  # noqa: N818 - a state of the server, not a mistake
    """There is no connection. Its text gives the reason, without text of the server.

    *word*: the first word of the refusal, or ``TLS``; None: the server refused nothing.
    """

    def __init__(self, why: str, word: str | None = None) -> None:
        super().__init__(why)
        self.word: Final = word


class ServerFacts(NamedTuple):
    """Facts that a server reports; None where its ACL forbids the query."""

    endpoint: Endpoint
    engine: str | None
    version: tuple[int, ...]
    persists: bool | None
    """Whether it writes its data to a disk."""
    evicts: bool | None
    """Whether it evicts keys when it is full, instead of refusing writes."""
    clock_offset_s: float | None
    """How far its wall clock is ahead of this machine's."""
    write_refusal: str | None = None
    """The word with which it refuses writes; None: it accepts them."""
    is_cluster_node: bool = False
    """Whether it is a node of a Redis Cluster."""

    @property
    def is_too_old(self) -> bool:
        """Whether it is certainly older than :data:`OLDEST`."""
        return self.engine is not None and self.version < OLDEST.get(self.engine, ())


class ClusterFacts(NamedTuple):
    """Facts about a Redis Cluster; None where its ACL forbids the query.

    Attributes:
        servers: Its primaries.
        lost_slots: How many slots no primary serves.
        without_replica: The primaries without a replica.
        node_timeout_s: Seconds of silence after which a node counts as failed.
        needs_all_slots: Whether one lost shard stops all others.
    """

    servers: tuple[ServerFacts, ...]
    lost_slots: int = 0
    without_replica: tuple[Endpoint, ...] = ()
    node_timeout_s: float | None = None
    needs_all_slots: bool | None = None
