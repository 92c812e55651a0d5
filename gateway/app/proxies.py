"""Does a proxy before the node bear with a phone that is quiet?

A stream carries a ping each way at least as often as the phone asked for, 55 s at most; a proxy that waits no
longer than that cuts streams that are well.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

from gateway.app.certificates import read
from gateway.app.config_faults import ConfigError

QUIET_S: Final = 55.0
"""The longest pause between pings that a phone may choose."""
LEAST_S: Final = QUIET_S + 5.0
"""With what the way there and back takes, and a loop that is busy."""

_LINE: Final = re.compile(
    r"^\s*(?P<name>timeout\s+(?:tunnel|client|server)|proxy_read_timeout|proxy_send_timeout)"
    r"\s+(?P<count>\d+)(?P<unit>us|ms|s|m|h|d)?\s*;?\s*(?:#.*)?$",
    re.MULTILINE,
)
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_TUNNEL: Final = "timeout tunnel"
_WITHOUT_TUNNEL: Final = frozenset({"timeout client", "timeout server"})
_WHAT: Final = "timeout tunnel of HAProxy, proxy_read_timeout and proxy_send_timeout of nginx"


class Pause(NamedTuple):
    """What a proxy's file says of one of its times."""

    name: str
    seconds: float


def pauses(text: str) -> list[Pause]:
    """Return the times that a file of HAProxy or nginx sets for streams that are quiet.

    Of one that is set in several places the longest counts: only the place that streams pass needs it.
    In HAProxy those of client and server count only where there is none for tunnels; a bare number
    is milliseconds there, and seconds in nginx.
    """
    found: dict[str, float] = {}
    for match in _LINE.finditer(text):
        name = " ".join(match["name"].split())
        bare = "ms" if name.startswith("timeout") else "s"
        seconds = int(match["count"]) * _SECONDS[match["unit"] or bare]
        found[name] = max(seconds, found.get(name, 0.0))
    if _TUNNEL in found:
        found = {name: seconds for name, seconds in found.items() if name not in _WITHOUT_TUNNEL}
    return [Pause(name, seconds) for name, seconds in found.items()]


def judged(path: Path) -> tuple[list[str], list[str]]:
    """Return what a proxy's file says, and its faults, a sentence each."""
    try:
        text = read("The proxy's file", path).decode("utf-8", errors="replace")
    except ConfigError as error:
        return [], list(error.faults)
    found = pauses(text)
    if not found:
        return [], [f"{path} sets none of {_WHAT}: what the proxy then does cannot be told."]
    told = [f"{path}: {name} {seconds:g} s" for name, seconds in found]
    cuts = "so the proxy cuts phones that are quiet"
    faults = [
        f"{path}: {name} is {seconds:g} s, {cuts}: set it to {LEAST_S:g} s or more."
        for name, seconds in found
        if seconds < LEAST_S
    ]
    return told, faults


def unknown() -> str:
    """Return what to look at where no file of a proxy was named."""
    return (
        f"client.trusted_proxies names proxies: let each wait {LEAST_S:g} s or more for a stream that is "
        f"quiet ({_WHAT}); `oscc-gateway doctor --proxy FILE` looks at it."
    )
