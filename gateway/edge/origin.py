"""May a page of that origin talk to the gateway?

Browsers say from which origin a page came (RFC 6454 §7); apps say nothing. Cross-origin pages on
the list get the CORS headers without which their browser would not let them read an answer.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORT: Final = {"http": 80, "https": 443}
_METHODS: Final = "GET, POST, DELETE"
_HEADERS: Final = "Authorization, Content-Type"
_PREFLIGHT_S: Final = 600


def may_connect(origin: str, host: str | None, allowed: AbstractSet[str], *, tls: bool) -> bool:
    """Tell whether *origin* is on the list, or, when there is none, that of *host* itself.

    Args:
        origin: The value of `Origin`. `null` is nobody's.
        host: The value of `Host`.
        allowed: Exact origins; empty: the same host only.
        tls: The listener speaks TLS, so its own pages are `https` ones.
    """
    if origin == "null":
        return False
    if allowed:
        return origin in allowed
    parts = _authority(origin)
    if parts is None or host is None or (tls and parts[0] != "https"):
        return False
    scheme, name, port = parts
    own = _authority(f"{scheme}://{host}")
    return own is not None and own[1:] == (name, port)


def cors_headers(origin: str) -> dict[str, str]:
    """Return what lets a page of the allowed *origin* read an answer."""
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
        "Vary": "Origin",
    }


def preflight_headers() -> dict[str, str]:
    """Return what a browser asks for before it sends more than a simple request (Fetch §3.2.2)."""
    return {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": _HEADERS,
        "Access-Control-Max-Age": str(_PREFLIGHT_S),
    }


def _authority(origin: str) -> tuple[str, str, int] | None:
    """Split an origin into scheme, host and port; None when it is not exactly one."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORT or not parts.hostname:
        return None
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port or _DEFAULT_PORT[parts.scheme]
