"""Command ``doctor``: check that this machine is fit for a node: file limit, kernel queues, clock, Redis."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import re
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from gateway.app.certificates import read_limited
from gateway.app.cli.check import client_file_faults, listener_certificate_problems
from gateway.app.cli.command import add_config
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import Settings
from gateway.app.config.sources import load
from gateway.app.listeners import BACKLOG
from gateway.app.status import check_bus
from gateway.runtime.clock import SystemClock

_TOKEN: Final = re.compile(
    r"""\s+|\#[^\n]*|[;{}]
    |"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'
    |(?:\$\{[^}]*\}|\\.|[^\s;{}])+""",
    re.VERBOSE | re.DOTALL,
)
_ENDS: Final = frozenset(";{}")
_QUOTES: Final = frozenset("\"'")
_LOCATION: Final = re.compile(r"(=|~\*|~|\^~)?\s*(.*)", re.DOTALL)


@dataclass(slots=True)
class Block:
    """A directive, with its words, where it stands, and what is in its braces."""

    words: tuple[str, ...]
    line: int
    inner: list[Block] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The first word."""
        return self.words[0] if self.words else ""

    def named(self, name: str) -> Iterator[Block]:
        """Yield what of that name stands directly in it."""
        return (each for each in self.inner if each.name == name)

    def last(self, name: str) -> Block | None:
        """Return the last of that name directly in it."""
        return next((each for each in reversed(self.inner) if each.name == name), None)


def parse_nginx(text: str) -> Block:
    """Return the whole file as one block. What is not closed ends with it."""
    open_ = [Block((), 1)]
    words: list[str] = []
    line = 1
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece in _ENDS:
            if words:
                open_[-1].inner.append(Block(tuple(words), line))
            if piece == "{":
                open_.append(open_[-1].inner[-1] if words else Block((), line))
            elif piece == "}" and len(open_) > 1:
                open_.pop()
            words = []
        elif not piece.isspace() and piece[0] != "#":
            words.append(piece[1:-1] if piece[0] in _QUOTES else piece)
        line += piece.count("\n")
    return open_[0]


def ways(root: Block, path: str) -> list[tuple[Block, ...]]:
    """Return for each server that hands *path* on the blocks around it, the outermost first.

    Where some servers have a location that names the path, the others are not its.
    """
    all_ = [(*server, *_locations(server[-1], path)) for server in _servers((root,))]
    found = [way for way in all_ if _hands_on(way[-1])]
    meant = [way for way in found if way[-1].name == "location" and _uri(way[-1])[1] not in {"", "/"}]
    return meant or found


def _servers(around: tuple[Block, ...]) -> Iterator[tuple[Block, ...]]:
    """Yield the servers; a file without any is part of one."""
    inside = [each for each in around[-1].inner if each.name in {"http", "server"} and each.inner]
    for each in inside:
        if each.name == "server":
            yield (*around, each)
        else:
            yield from _servers((*around, each))
    if len(around) == 1 and not inside:
        yield around


def _hands_on(block: Block) -> bool:
    return any(block.named("proxy_pass")) or any(_hands_on(each) for each in block.named("if"))


def _locations(block: Block, path: str) -> Iterator[Block]:
    """Yield the location of *block* that nginx chooses, then the one within it."""
    chosen = _chosen([each for each in block.named("location") if not _uri(each)[1].startswith("@")], path)
    if chosen is not None:
        yield chosen
        yield from _locations(chosen, path)


def _chosen(locations: list[Block], path: str) -> Block | None:
    """Choose as nginx does: what is equal, the first expression that fits, the longest beginning."""
    longest: Block | None = None
    for each in locations:
        how, uri = _uri(each)
        if how == "=" and uri == path:
            return each
        is_longer = longest is None or len(uri) > len(_uri(longest)[1])
        if how in {"", "^~"} and path.startswith(uri) and is_longer:
            longest = each
    if longest is not None and _uri(longest)[0] == "^~":
        return longest
    fitting = (each for each in locations if _uri(each)[0] in {"~", "~*"} and _fits(*_uri(each), path))
    return next(fitting, longest)


def _fits(how: str, expression: str, path: str) -> bool:
    try:
        return re.search(expression, path, re.IGNORECASE if how == "~*" else 0) is not None
    except re.error:  # nginx's expressions know a little more
        return False


def _uri(location: Block) -> tuple[str, str]:
    """Return how a location is compared, and with what."""
    match = _LOCATION.fullmatch(" ".join(location.words[1:]))
    return ("", "") if match is None else (match[1] or "", match[2])


# ---- proxies ----


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


def judged_file(path: Path) -> tuple[list[str], list[str]]:
    """Return what a proxy's file says, and its faults, a sentence each."""
    try:
        text = read_limited("The proxy's file", path).decode("utf-8", errors="replace")
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


def unknown_proxy() -> str:
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
    root = parse_nginx(text)
    around = ways(root, STREAMS)
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


# ---- doctor ----


SPARE_FILES: Final = 200
"""Beside phones and links: listeners, Redis, HTTP to the sites, logs."""
_PROC: Final = Path("/proc/sys")
_SYNCHRONISED: Final = (
    Path("/run/systemd/timesync/synchronized"),
    Path("/run/chrony"),
    Path("/run/ntpd.pid"),
)


class MachineLimits(NamedTuple):
    """What the kernel says; None where it says nothing."""

    files: int
    """How many this process may open, once it has asked for all it may have."""
    somaxconn: int | None
    syn_backlog: int | None
    is_time_kept: bool
    """Whether a service is seen that keeps the clock right."""


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)
    parser.add_argument(
        "--proxy",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a configuration of HAProxy or nginx before the node: does it bear with phones that are quiet?",
    )


def run_doctor(args: argparse.Namespace) -> int:
    """Print what was looked at, and a sentence per fault or advice. Returns 0, or 1 with a fault.

    Raises:
        ConfigError: The configuration cannot be used.
    """
    settings = load(args.config, os.environ).settings
    machine = this_machine()
    clock = SystemClock()
    bus = asyncio.run(check_bus(settings.bus, clock))
    proxies = [judged_file(path) for path in args.proxy]
    certificate = listener_certificate_problems(settings, clock.wall_ms())
    for told in (*_machine_lines(machine), *bus.told, *(line for lines, _ in proxies for line in lines)):
        sys.stdout.write(f"{told}\n")
    thoughts = [flaw.text for flaw in certificate if not flaw.is_fault]
    if settings.client.trusted_proxies and not proxies:
        thoughts.append(unknown_proxy())
    for advice in (*machine_advices(machine), *bus.advices, *thoughts):
        sys.stderr.write(f"advice: {advice}\n")
    found = [
        *machine_faults(machine, settings),
        *bus.faults,
        *(line for _, lines in proxies for line in lines),
    ]
    found += [*(flaw.text for flaw in certificate if flaw.is_fault), *client_file_faults(settings)]
    for fault in found:
        sys.stderr.write(f"fault: {fault}\n")
    return 1 if found else 0


def machine_faults(machine: MachineLimits, settings: Settings) -> Iterator[str]:
    """Yield what a node on *machine* would run into."""
    needed = settings.limits.connections * 2 + SPARE_FILES
    if machine.files < needed:
        yield (
            f"This process may open {machine.files} files, but limits.connections = "
            f"{settings.limits.connections} needs {needed} (a phone and its user's link each take one): "
            "raise LimitNOFILE or ulimit -n, or take fewer connections."
        )


def machine_advices(machine: MachineLimits) -> Iterator[str]:
    """Yield what is worth a thought."""
    for name, value in (("somaxconn", machine.somaxconn), ("tcp_max_syn_backlog", machine.syn_backlog)):
        if value is not None and value < BACKLOG:
            where = "net.core" if name == "somaxconn" else "net.ipv4"
            yield (
                f"{where}.{name} is {value}: after another node's end more phones come at once; set it to "
                f"{BACKLOG} or more."
            )
    if not machine.is_time_kept:
        yield "No service is seen that keeps the clock right: timesyncd, chrony or ntpd. Instants need it."


def this_machine() -> MachineLimits:
    """Return what this machine's kernel says."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MachineLimits(
        sys.maxsize if hard == resource.RLIM_INFINITY else hard,
        _number(_PROC / "net/core/somaxconn"),
        _number(_PROC / "net/ipv4/tcp_max_syn_backlog"),
        any(path.exists() for path in _SYNCHRONISED),
    )


def _machine_lines(machine: MachineLimits) -> Iterator[str]:
    yield f"files: {machine.files}"
    yield f"somaxconn: {machine.somaxconn}, tcp_max_syn_backlog: {machine.syn_backlog}"
    yield f"clock: {'kept' if machine.is_time_kept else 'not known to be kept'}"


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
