"""Options of the load generator, and the bytes of its templates."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Sequence

from bench.load.generator import Span

FIRST_SEQUENCE = 1_000_000_000
"""First number of a publish, so large that all numbers have the same length."""
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)|%(.)", re.DOTALL)
_ESCAPED = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0"}
_FILLER = b"abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"


def parser() -> argparse.ArgumentParser:
    """Return the parser of the ``wsload`` options that the benchmark uses."""
    made = argparse.ArgumentParser(prog="python -m bench.load.soft", allow_abbrev=False)
    made.add_argument("--url", required=True, help="HOST:PORT/PATH")
    made.add_argument("-n", dest="phones", type=int, default=1)
    for name, default in (("duration", 5.0), ("warmup", 1.0), ("settle", 0.5), ("drain", 1.0)):
        made.add_argument(f"--{name}", type=float, default=default)
    for name, least in (("inflight", 256), ("groups", 1), ("slow", 0), ("rcvbuf", 0), ("size", 300)):
        made.add_argument(f"--{name}", type=int, default=least)
    made.add_argument("--per-src", type=int, default=2_000)
    made.add_argument("--pid", type=int)
    made.add_argument("--rate", type=float)
    made.add_argument("--ready-s", type=float, default=60.0)
    made.add_argument("--pub-rate", type=float)
    made.add_argument("--pub-window", type=int)
    for name in ("subproto", "stamp", "ready", "save", "lines", "pub", "pub-tcp", "reply-text"):
        made.add_argument(f"--{name}")
    made.add_argument("--span", type=Span.read, action="append", default=[])
    for name in ("header", "count"):
        made.add_argument(f"--{name}", action="append", default=[])
    for name, kind in (("send", 1), ("sendb", 2), ("pub-send", 1), ("pub-sendb", 2)):
        made.add_argument(
            f"--{name}",
            dest="pub_sends" if name.startswith("pub") else "sends",
            action="append",
            type=_of_kind(kind),
            default=[],
        )
    for name in ("pong", "tls", "reply-ping", "pub-bin"):
        made.add_argument(f"--{name}", action="store_true")
    return made


def _of_kind(opcode: int) -> Callable[[str], tuple[int, str]]:
    return lambda text: (opcode, text)


class Templates:
    """Templates of messages, filled in as ``wsload`` does.

    Args:
        groups: Number of topics.
        size: Bytes of a published message.
        lines: Values of ``%k``, by the connection's number.

    Attributes:
        elements: Value of ``%Z``: elements of one publish.
    """

    def __init__(self, groups: int, size: int, lines: Sequence[bytes] = ()) -> None:
        self._groups = groups
        self._size = size
        self._lines = lines
        self.elements = 1

    def of_phone(self, template: str, number: int) -> bytes:
        """Return a message of connection *number*."""
        return self._fill(template, number, number % self._groups, 0, 0)

    def of_publish(self, template: str, sequence: int, stamp_ns: int) -> bytes:
        """Return publish number *sequence*; topics take turns."""
        return self._fill(template, 0, sequence % self._groups, FIRST_SEQUENCE + sequence, stamp_ns)

    def message(self, group: int, sequence: int, stamp_ns: int) -> bytes:
        """Return a message of the configured size, which ends in its number and time."""
        head = b'{"type":"message.created","topic":"t%05d","pad":"' % group
        tail = b'","seq":%d,"t":%d}' % (sequence, stamp_ns)
        fill = max(0, self._size - len(head) - len(tail))
        return head + (_FILLER * (fill // len(_FILLER) + 1))[:fill] + tail

    def _fill(self, template: str, number: int, group: int, sequence: int, stamp_ns: int) -> bytes:
        def replace(found: re.Match[str]) -> bytes:
            escaped, asked = found.groups()
            if escaped is not None:
                hexed = escaped[0] == "x" and len(escaped) == 3
                return (
                    bytes((int(escaped[1:], 16),)) if hexed else _ESCAPED.get(escaped, os.fsencode(escaped))
                )
            message = self.message(group, sequence, stamp_ns) if asked in "ML" else b""
            meanings = {
                "d": b"%d" % number,
                "m": b"%05d" % group,
                "T": b"%d" % stamp_ns,
                "S": b"%d" % sequence,
                "Z": b"%d" % self.elements,
                "k": self._lines[number % len(self._lines)] if self._lines else b"",
                "M": message,
                "L": b"%d" % len(message),
            }
            return meanings.get(asked, os.fsencode(asked))

        parts, at = [], 0
        for found in _ESCAPE.finditer(template):
            parts += [template[at : found.start()].encode(), replace(found)]
            at = found.end()
        return b"".join([*parts, template[at:].encode()])
