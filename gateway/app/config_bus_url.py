"""Which addresses may a bus have, and how is one shown without its password?

- ``memory://``
- ``redis://[user:password@]host[:port][/database]``, ``rediss://…`` the same over TLS
- ``redis+sentinel://[user:password@]host[:port],host[:port],…/service[/database]``
"""

from __future__ import annotations

import difflib
import re
from typing import Final
from urllib.parse import unquote, urlsplit

BUS_SCHEMES: Final = ("memory", "redis", "rediss", "redis+sentinel")
MEMORY: Final = "memory://"
HIDDEN: Final = "********"
DATABASES: Final = 16
"""As many as a Redis has unless told otherwise."""

_HOST: Final = re.compile(
    r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)(:(?P<port>\d{1,5}))?"
)
_SERVICE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WHO: Final = re.compile(r"(?<=://).*@", re.DOTALL)


def bus_url(text: str) -> str:
    """Return *text* when it is the address of a bus.

    Raises:
        ValueError: With the end of a sentence that begins with the setting's name; it never repeats
            the address, which may hold a password.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in BUS_SCHEMES:
        near = difflib.get_close_matches(scheme, BUS_SCHEMES, n=1)
        hint = f"; did you mean {near[0]}://?" if near else ""
        raise ValueError(f"must begin with memory://, redis://, rediss:// or redis+sentinel://{hint}")
    if scheme == "memory":
        if rest:
            raise ValueError("must be memory:// and nothing behind it")
        return text
    if "?" in rest or "#" in rest:
        raise ValueError("must have no ? or #; in a password write %3F or %23")
    authority, _, path = rest.partition("/")
    credentials, _, hosts = authority.rpartition("@")
    _check_credentials(credentials)
    if scheme == "redis+sentinel":
        _check_hosts(hosts.split(","))
        _check_service(path)
    else:
        _check_hosts([hosts])
        _check_database(path)
    return text


def without_password(url: str) -> str:
    """Return *url* with what stands between ``//`` and the last ``@`` hidden."""
    return _WHO.sub(f"{HIDDEN}@", url)


def has_password(url: str) -> bool:
    """Tell whether *url* says who asks."""
    password = None if url == MEMORY else urlsplit(url).password
    return bool(password and unquote(password))


def _check_credentials(credentials: str) -> None:
    if credentials and ":" not in credentials:
        raise ValueError("must name user and password as user:password@, or :password@ without a user")
    if credentials.endswith(":"):
        raise ValueError("has a user without a password")
    if "@" in credentials:
        raise ValueError("has two @; in a password write %40")


def _check_hosts(hosts: list[str]) -> None:
    for host in hosts:
        found = _HOST.fullmatch(host)
        if found is None or int(found["port"] or 1) not in range(1, 65_536):
            raise ValueError("must name a host, with or without a port, as in redis.example:6379")


def _check_database(path: str) -> None:
    if path and not (path.isdecimal() and path.isascii() and int(path) < DATABASES):
        raise ValueError("may name a database from 0 to 15 behind the host, and nothing else")


def _check_service(path: str) -> None:
    service, _, database = path.partition("/")
    if _SERVICE.fullmatch(service) is None:
        raise ValueError(
            "must name the Sentinels' service behind the hosts, as in redis+sentinel://a,b,c/oscc-gateway"
        )
    _check_database(database)
