"""Does a proxy before the node bear with a phone that is quiet?

A stream carries a ping each way at least as often as the phone asked for, 55 s at most; a proxy that waits no
longer than that cuts streams that are well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from gateway.app import nginx_file
from gateway.app.certificates import read
from gateway.app.config_faults import ConfigError
from gateway.app.nginx_file import Block

QUIET_S: Final = 55.0
"""The longest pause between pings that a phone may choose."""
LEAST_S: Final = QUIET_S + 5.0
"""With what the way there and back takes, and a loop that is busy."""
STREAMS: Final = "/v1/realtime"
"""Where phones' streams pass."""

_UNITS: Final = {
    "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0,
}  # fmt: skip
_TIME: Final = re.compile(r"\d+|(?:\d+(?:us|ms|s|m|h|d|w)\s*)+")
_PART: Final = re.compile(r"(\d+)(us|ms|s|m|h|d|w)?")
_OF_HAPROXY: Final = re.compile(r"^\s*(?:global|defaults|frontend|backend|timeout)\b[^;{]*$", re.MULTILINE)
_SECTIONS: Final = frozenset({"global", "defaults", "frontend", "backend", "listen"})
_SERVERS: Final = frozenset({"server", "server-template"})
_TUNNEL, _CLIENT, _SERVER = "timeout tunnel", "timeout client", "timeout server"
_OF_NGINX: Final = ("proxy_read_timeout", "proxy_send_timeout")
_NGINX_DEFAULT_S: Final = 60.0
_WHAT: Final = "timeout tunnel of HAProxy, proxy_read_timeout and proxy_send_timeout of nginx"


class Pause(NamedTuple):
    """How long a proxy waits for streams that are quiet, and by which of its times.

    *line*: where its file says so; None: it says nothing, and this is what the proxy does by itself.
    """

    name: str
    seconds: float
    line: int | None

    def said(self, path: Path) -> str:
        """Return what the proxy's file says."""
        if self.line is None:
            return f"{path}: {self.name} {self.seconds:g} s by default"
        return f"{path}, line {self.line}: {self.name} {self.seconds:g} s"


def pauses(text: str) -> list[Pause]:
    """Return the times of a file of HAProxy or nginx that hold for phones' streams.

    A bare number is milliseconds in HAProxy, and seconds in nginx.
    """
    found = _of_haproxy(text) if _OF_HAPROXY.search(text) is not None else _of_nginx(text)
    return list(dict.fromkeys(found))


def judged(path: Path) -> tuple[list[str], list[str]]:
    """Return what a proxy's file says, and its faults, a sentence each."""
    try:
        text = read("The proxy's file", path).decode("utf-8", errors="replace")
    except ConfigError as error:
        return [], list(error.faults)
    found = pauses(text)
    if not found:
        return [], [f"{path} sets none of {_WHAT}: what the proxy then does cannot be told."]
    cuts = "so the proxy cuts phones that are quiet"
    faults = [
        f"{each.said(path)}, {cuts}: set it to {LEAST_S:g} s or more."
        for each in found
        if each.seconds < LEAST_S
    ]
    return [each.said(path) for each in found], faults


def unknown() -> str:
    """Return what to look at where no file of a proxy was named."""
    return (
        f"client.trusted_proxies names proxies: let each wait {LEAST_S:g} s or more for a stream that is "
        f"quiet ({_WHAT}); `oscc-gateway doctor --proxy FILE` looks at it."
    )


def _seconds(text: str, bare: str) -> float | None:
    if _TIME.fullmatch(text) is None:
        return None
    return sum(int(number) * _UNITS[unit or bare] for number, unit in _PART.findall(text))


# ---- nginx ----


def _of_nginx(text: str) -> Iterator[Pause]:
    """Yield what holds where the streams pass, the innermost first; or what the file says for all of it."""
    root = nginx_file.parse(text)
    around = nginx_file.ways(root, STREAMS)
    for way in around:
        for name in _OF_NGINX:
            yield _innermost(way, name) or Pause(name, _NGINX_DEFAULT_S, None)
    if not around:
        whole = (root, *root.named("http"))
        yield from (said for name in _OF_NGINX if (said := _innermost(whole, name)) is not None)


def _innermost(way: tuple[Block, ...], name: str) -> Pause | None:
    for block in reversed(way):
        said = block.last(name)
        seconds = None if said is None else _seconds(" ".join(said.words[1:]), "s")
        if said is not None and seconds is not None:
            return Pause(name, seconds, said.line)
    return None


# ---- HAProxy ----


@dataclass(slots=True)
class _Section:
    kind: str
    times: dict[str, Pause]
    """With those of its defaults."""
    has_servers: bool = False


def _of_haproxy(text: str) -> Iterator[Pause]:
    """Yield the times for tunnels; where none is given, those of clients and servers.

    Which sections the streams pass is not looked at: where some have a time for tunnels, it is these.
    """
    sections = list(_sections(text))
    tunnels = list(_in_force(sections, _TUNNEL))
    yield from tunnels or (each for name in (_CLIENT, _SERVER) for each in _in_force(sections, name))


def _in_force(sections: list[_Section], name: str) -> Iterator[Pause]:
    """Yield the time of that name of each section that heeds it; without such a section of all."""
    heed = [each for each in sections if _heeds(each, name)] or sections
    return (each.times[name] for each in heed if name in each.times)


def _heeds(section: _Section, name: str) -> bool:
    if name == _CLIENT:
        return section.kind in {"frontend", "listen"}
    return section.kind in {"backend", "listen"} and section.has_servers


def _sections(text: str) -> Iterator[_Section]:
    """Yield the sections of a file, the first for what stands before all."""
    section, defaults = _Section("", {}), _Section("defaults", {})
    by_name: dict[str, _Section] = {}
    for line, words in enumerate((text.partition("#")[0].split() for text in text.splitlines()), 1):
        match words:
            case [kind, *more] if kind in _SECTIONS:
                yield section
                base = by_name.get(more[more.index("from") + 1]) if "from" in more[:-1] else defaults
                is_based = base is not None and (kind != "defaults" or "from" in more)
                section = _Section(kind, dict(base.times) if base is not None and is_based else {})
                if kind == "defaults":
                    defaults = section
                    by_name[more[0] if more else ""] = section
            case ["timeout", which, text, *_]:
                _note(section.times, f"timeout {which}", _seconds(text, "ms"), line)
            case [word, *_] if word in _SERVERS:
                section.has_servers = True
    yield section


def _note(times: dict[str, Pause], name: str, seconds: float | None, line: int) -> None:
    """Note what a line says. HAProxy takes 0 for no limit, and for tunnels as not said."""
    times.pop(name, None)
    if seconds is not None and (seconds > 0 or name != _TUNNEL):
        times[name] = Pause(name, seconds or math.inf, line)
