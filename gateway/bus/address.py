"""Where is Redis, and how does one get in?

``redis://[user:password@]host[:port][/db]``, ``rediss://…`` with TLS, and for a primary that Sentinel
chooses ``redis+sentinel://[user:password@]host[:port],host[:port]…/name[?db=0]`` (``rediss+sentinel://``
with TLS, to the sentinels as well). Options behind ``?``: ``db``; ``ca_file`` for TLS; for sentinels that
want to know who asks ``sentinel_user`` and ``sentinel_password``. What is no letter in a user or
password is percent-encoded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_FORMS: Final = "redis://, rediss://, redis+sentinel:// or rediss+sentinel://"
_DIRECT: Final = frozenset({"db", "ca_file"})
_BY_SENTINEL: Final = _DIRECT | {"sentinel_user", "sentinel_password"}


class Place(NamedTuple):
    """A listener."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Papers:
    """Who asks to be let in. Tells nothing of itself."""

    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Address:
    """What a bus URL says.

    Attributes:
        places: The server, or the sentinels that know it.
        papers: For the server.
        service: What the sentinels call the primary; None: *places* is the one server.
        sentinel_papers: For the sentinels.
        tls: Whether everything goes through TLS, verified.
        ca_file: Whom to trust, instead of the machine's own list.
        db: Which database. Channels know none.
    """

    places: tuple[Place, ...]
    papers: Papers = Papers()
    service: str | None = None
    sentinel_papers: Papers = Papers()
    tls: bool = False
    ca_file: str | None = None
    db: int = 0


def parse(url: str) -> Address:
    """Read a bus URL.

    Raises:
        ValueError: It is none, with a sentence that holds nothing of it but names of options.
    """
    try:
        split = urlsplit(url)
    except ValueError:
        raise ValueError(f"a bus URL begins with {_FORMS}") from None
    scheme, _, suffix = split.scheme.partition("+")
    if scheme not in {"redis", "rediss"} or suffix not in {"", "sentinel"}:
        raise ValueError(f"a bus URL begins with {_FORMS}")
    options = _options(split, _BY_SENTINEL if suffix else _DIRECT)
    tls = scheme == "rediss"
    if "ca_file" in options and not tls:
        raise ValueError("ca_file is for rediss:// and rediss+sentinel://")
    papers, hosts = _papers_and_hosts(split.netloc)
    path = unquote(split.path.removeprefix("/"))
    if suffix:
        return Address(
            places=tuple(_place(host, _SENTINEL_PORT) for host in hosts.split(",")),
            papers=papers,
            service=_service(path),
            sentinel_papers=Papers(options.get("sentinel_user"), options.get("sentinel_password")),
            tls=tls,
            ca_file=options.get("ca_file"),
            db=_db(options.get("db", "0")),
        )
    if path and "db" in options:
        raise ValueError("a bus URL names its database once")
    db = _db(path or options.get("db", "0"))
    return Address((_place(hosts, _PORT),), papers, tls=tls, ca_file=options.get("ca_file"), db=db)


def _options(split: SplitResult, known: frozenset[str]) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(split.query, keep_blank_values=True, strict_parsing=bool(split.query))
    except ValueError:
        raise ValueError("options of a bus URL are name=value, joined by &") from None
    for name, _ in pairs:
        if name not in known:
            raise ValueError(f"a bus URL of this form has the options {', '.join(sorted(known))}")
    return dict(pairs)


def _papers_and_hosts(netloc: str) -> tuple[Papers, str]:
    secret, _, hosts = netloc.rpartition("@")
    if not secret:
        return Papers(), hosts
    user, colon, password = secret.partition(":")
    if not colon:
        raise ValueError("a bus URL has user:password, or :password, in front of its @")
    return Papers(unquote(user) or None, unquote(password)), hosts


def _place(text: str, port: int) -> Place:
    try:
        split = urlsplit(f"//{text}")
        found = Place(split.hostname or "", port if split.port is None else split.port)
    except ValueError:
        raise ValueError("a host of a bus URL is no host with a port") from None
    if not found.host or not found.port > 0:
        raise ValueError("a bus URL names a host, and with sentinels each host between commas")
    return found


def _service(path: str) -> str:
    if not path or "/" in path:
        raise ValueError("a bus URL with sentinels names the primary as they call it: …/mymaster")
    return path


def _db(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("the database of a bus URL is a number")
    return int(text)
