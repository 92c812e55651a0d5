"""Which addresses may a bus have, and how is one shown without its passwords?

``memory://``, or what :mod:`gateway.bus.address` reads.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote

from gateway.bus.address import Address, parse

MEMORY: Final = "memory://"
SCHEMES: Final = ("memory", "redis", "rediss", "redis+sentinel", "rediss+sentinel")
HIDDEN: Final = "********"

_WHO: Final = re.compile(r"(?<=://).*@", re.DOTALL)
_SENTINELS_WHO: Final = re.compile(r"(?<=[?&])(sentinel_(?:user|password)=)[^&]*")


def bus_url(text: str) -> str:
    """Return *text* when it is the address of a bus.

    Raises:
        ValueError: With the end of a sentence that begins with the setting's name; it never repeats
            the address, which may hold a password.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=1)
        hint = f"; did you mean {near[0]}://?" if near else ""
        raise ValueError(f"must begin with memory://, redis://, rediss:// or redis+sentinel://{hint}")
    if scheme == "memory":
        if rest:
            raise ValueError("must be memory:// and nothing behind it")
        return text
    try:
        parse(text)
    except ValueError as fault:
        raise ValueError(f"cannot be used: {fault}") from None
    return text


def address(url: str) -> Address | None:
    """Return what *url* says; None for ``memory://``."""
    return None if url == MEMORY else parse(url)


def redis_url(url: str, ca_file: Path | None) -> str | None:
    """Return *url* with the file of the authority to trust behind it; None for ``memory://``."""
    if url == MEMORY or ca_file is None:
        return None if url == MEMORY else url
    return f"{url}{'&' if '?' in url else '?'}ca_file={quote(str(ca_file), safe='/')}"


def without_password(url: str) -> str:
    """Return *url* with users and passwords hidden."""
    return _SENTINELS_WHO.sub(rf"\1{HIDDEN}", _WHO.sub(f"{HIDDEN}@", url))
