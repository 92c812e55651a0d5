"""What may stand in a log line, and in which shape?

Deny by default: a field that is not listed is left out, and so is a value that has not the
field's shape. No field is a name of personal or realtime data; users appear as keyed hashes,
addresses as networks.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from gateway.app.keys import SecretKey
from gateway.domain.audit import UserHash
from gateway.domain.model import UserId
from gateway.runtime.faults import FRAMES_MAX

TEXT_CHARACTERS: Final = 200
OPERATORS_CHARACTERS: Final = 400
HASH_CHARACTERS: Final = 16
IPV4_PREFIX: Final = 24
IPV6_PREFIX: Final = 48

Value = str | int | float | bool
Shape = Callable[[object], Value | None]
"""Returns what is logged for a value; None: nothing."""

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:/ -]{0,63}")
_VERSION: Final = re.compile(r"[A-Za-z0-9.+-]{1,32}")
_FRAME: Final = r"[\w./-]{1,120}:\d{1,6}:[\w<>]{1,80}"
_PLACE: Final = re.compile(rf"{_FRAME}(?: < {_FRAME}){{0,{FRAMES_MAX - 1}}}")
_MASKED: Final = re.compile(r"\*{3,64}[0-9]{0,3}")
_HASH: Final = re.compile(r"[0-9a-f]{16}")
_KEY_NAMES: Final = re.compile(r"[a-z0-9]{1,16}/[0-9a-f]{8}(?: [a-z0-9]{1,16}/[0-9a-f]{8})*")
_NODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HOST: Final = re.compile(r"[A-Za-z0-9.:-]{1,253}")
_MANY_DIGITS: Final = re.compile(r"\d{5}")
_LONG_NUMBER: Final = re.compile(r"\d{7,}")
"""As long as a telephone number; ports are shorter."""
_HIDDEN_IN_TEXT: Final = (
    re.compile(r"[+(]?\d(?:[\s\-/().]{0,2}\d){4,}"),  # telephone numbers, contact numbers
    re.compile(r"[A-Za-z0-9_+/=-]{32,}"),  # keys and tokens
    re.compile(r"\?\S*"),  # query strings
)


def text(value: object) -> str | None:
    """Shape a sentence of ours: its first line, without what looks like a number, a token or a query."""
    if not isinstance(value, str):
        return None
    line = value.partition("\n")[0]
    for pattern in _HIDDEN_IN_TEXT:
        line = pattern.sub("…", line)
    return line[:TEXT_CHARACTERS]


def _word(value: object) -> str | None:
    """Shape a name from a closed set: a letter first, few digits."""
    if not isinstance(value, str) or _MANY_DIGITS.search(value) is not None:
        return None
    return str(value) if _WORD.fullmatch(value) is not None else None


def _version(value: object) -> str | None:
    if not isinstance(value, str) or _MANY_DIGITS.search(value) is not None:
        return None
    return value if _VERSION.fullmatch(value) is not None else None


def _place(value: object) -> str | None:
    """Shape the frames of a fault."""
    return value if isinstance(value, str) and _PLACE.fullmatch(value) is not None else None


def _host(value: object) -> str | None:
    return value if isinstance(value, str) and _HOST.fullmatch(value) is not None else None


def _hash(value: object) -> str | None:
    """Shape a hash (user, session), a process's life or an act's id: all are as long."""
    return str(value) if isinstance(value, str) and _HASH.fullmatch(value) is not None else None


def _node(value: object) -> str | None:
    """Shape a node's name: the operator's, or made of the host's."""
    return value if isinstance(value, str) and _NODE.fullmatch(value) is not None else None


def _operators(value: object) -> str | None:
    """Shape what names the operator's own files and notices: one line, without what looks like a number."""
    if not isinstance(value, str):
        return None
    return _LONG_NUMBER.sub("…", value.partition("\n")[0])[:OPERATORS_CHARACTERS]


def _key_names(value: object) -> str | None:
    """Shape ids and check values of sealing keys; a key itself has another form."""
    return value if isinstance(value, str) and _KEY_NAMES.fullmatch(value) is not None else None


def _masked(value: object) -> str | None:
    """Shape a remote number that shows its last digits at most."""
    return value if isinstance(value, str) and _MASKED.fullmatch(value) is not None else None


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(value: object) -> float | None:
    return round(float(value), 3) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def network_of(value: object) -> str | None:
    """Shape an address: the /24 or /48 around it, shared by many people."""
    match value:
        case IPv4Address() | IPv6Address():
            address = value
        case str():
            try:
                address = ipaddress.ip_address(value)
            except ValueError:
                return None
        case _:
            return None
    prefix = IPV4_PREFIX if address.version == 4 else IPV6_PREFIX
    return str(ipaddress.ip_network((address, prefix), strict=False))


class Pseudonyms:
    """Names users by keyed hashes, the same on all nodes with the same key; only its holder can tell who.

    The label keeps these hashes apart from others under the same key (NIST SP 800-108 §4).
    """

    def __init__(self, key: SecretKey) -> None:
        self._key: Final = hmac.digest(key.raw, b"user ids in logs", hashlib.sha256)

    def __call__(self, value: object) -> str | None:
        """Shape a :class:`UserId`, or what is known to be the hash of one; nothing else is taken for them."""
        if isinstance(value, UserHash):
            return _hash(value)
        return self.of(value) if isinstance(value, UserId) else None

    def of(self, user: UserId) -> str:
        """Return the user's keyed hash."""
        message = f"{user.site}\0{user.key}".encode()
        return hmac.digest(self._key, message, hashlib.sha256).hex()[:HASH_CHARACTERS]


def fields(pseudonyms: Pseudonyms) -> Mapping[str, Shape]:
    """Return the whole list: name of a field → its shape."""
    return {
        **dict.fromkeys(("event", "of"), text),
        **dict.fromkeys(("user",), pseudonyms),
        **dict.fromkeys(("address",), network_of),
        **dict.fromkeys(_WORDS, _word),
        **dict.fromkeys(_VERSIONS, _version),
        **dict.fromkeys(("place",), _place),
        **dict.fromkeys(("host",), _host),
        **dict.fromkeys(("node", "by_node", "asked_node"), _node),
        **dict.fromkeys(("subject", "life", "act_id"), _hash),
        **dict.fromkeys(("sealing_keys", "other_keys"), _key_names),
        **dict.fromkeys(("masked",), _masked),
        **dict.fromkeys(("fault", "gone", "new", "socket"), _operators),
        **dict.fromkeys(_COUNTS, _count),
        **dict.fromkeys(_SECONDS, _seconds),
        **dict.fromkeys(("tls", "insecure"), _flag),
    }


_WORDS: Final = (
    "act",
    "application",
    "bus",
    "cause",
    "close_reason",
    "codec",
    "error",
    "initiator",
    "kind",
    "level",
    "listener",
    "logger",
    "result",
    "signal",
    "site",
    "why",
)
_VERSIONS: Final = ("version",)
_COUNTS: Final = (
    "bytes_out",
    "close_code",
    "commands",
    "conflated",
    "connections",
    "days_left",
    "dropped",
    "frames_in",
    "frames_out",
    "http_status",
    "log_offs",
    "port",
    "serial",
    "suppressed",
    "users",
)
_SECONDS: Final = ("lasted_s", "offset_s", "window_s")
