"""What does nginx's configuration say where a path passes? Blocks and their directives, no more.

Files that it includes are not read, variables and rewrites not followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

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


def parse(text: str) -> Block:
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
