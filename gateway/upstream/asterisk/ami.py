"""The Asterisk Manager Interface as bytes: messages that are read, actions that are written.

Pure: bytes in, messages out. A message is a list of ``Name: value`` lines that an empty line ends; the
one exception is the greeting, a single line. Seen on AMI 13.0.0; the fields needed are there since
Asterisk 16 (AMI 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

GREETING: Final = "Asterisk Call Manager/"
LINE_BYTES: Final = 1_000
"""The longest line that is sent: Asterisk reads 1,024 bytes and cuts what is longer."""
MESSAGE_BYTES: Final = 64 * 1024
"""A longer message is left out and counted."""
HEADERS: Final = 1_024
"""A message with more lines is left out and counted."""
UNENDED_BYTES: Final = 2**20
"""So much without the end of a message is no AMI: the connection is closed."""

Message = Mapping[str, str]
"""Name → value, the last one where a name comes twice. The greeting is ``{"Greeting": version}``."""

_END: Final = b"\r\n\r\n"
_DROPPED: Final = (b"CallerID", b"ConnectedLine", b"Dest", b"Linked", b"Language", b"AccountCode")
"""Headers about callers and channels: they are never shown, so they are dropped while parsing."""


class AmiError(Exception):
    """What came is no AMI, or what is to be sent cannot be said in it."""


class Framer:
    """Splits what a connection brings into messages.

    Bounded: a message of more than :data:`MESSAGE_BYTES` or :data:`HEADERS` is left out and counted in
    *left_out*; :data:`UNENDED_BYTES` without an end are an error.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._rest = b""
        self._greeted = False

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that are complete with *data*.

        Raises:
            AmiError: The greeting is another protocol's, or a message does not end.
        """
        text = self._rest + data
        messages: list[Message] = []
        if not self._greeted:
            line, newline, after = text.partition(b"\r\n")
            if not newline:
                self._keep(text, most=LINE_BYTES)
                return messages
            messages.append({"Greeting": _greeting(line)})
            self._greeted, text = True, after
        *whole, rest = text.split(_END)
        for raw in whole:
            message = self._message(raw)
            if message:
                messages.append(message)
        self._keep(rest, most=UNENDED_BYTES)
        return messages

    def _keep(self, rest: bytes, *, most: int) -> None:
        if len(rest) > most:
            raise AmiError("a message does not end")
        self._rest = rest

    def _message(self, raw: bytes) -> Message | None:
        if len(raw) > MESSAGE_BYTES or raw.count(b"\n") >= HEADERS:
            self.left_out += 1
            return None
        message: dict[str, str] = {}
        for line in raw.split(b"\r\n"):
            if line.startswith(_DROPPED):
                continue
            name, colon, value = line.partition(b":")
            if colon:
                # a reason is cut at 79 bytes by Asterisk, within a character if need be
                message[name.decode("ascii", "replace")] = value.decode("utf-8", "replace").strip()
        return message


def _greeting(line: bytes) -> str:
    text = line.decode("ascii", "replace")
    if not text.startswith(GREETING):
        raise AmiError("the greeting is not an Asterisk's")
    return text.removeprefix(GREETING).strip()


def render(action: str, number: int, fields: Mapping[str, str]) -> bytes:
    """Return the bytes of one action.

    Args:
        action: Its name.
        number: The ActionID that its answer carries.
        fields: The other lines, in their order.

    Raises:
        AmiError: A value holds a control character, which could begin another line, or is too long.
    """
    lines = [f"Action: {action}", f"ActionID: {number}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    encoded = [line.encode() for line in lines]
    for line in encoded:
        if len(line) > LINE_BYTES:
            raise AmiError("a line is longer than Asterisk reads")
        if any(byte < 0x20 or byte == 0x7F for byte in line):
            raise AmiError("a value holds a control character")
    return b"\r\n".join(encoded) + _END


def whole(message: Message, name: str, default: int = 0) -> int:
    """Return a header as a whole number; *default* where it is missing or none."""
    value = message.get(name, "")
    digits = value.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 15:
        return default
    return int(value)


def decimal(message: Message, name: str) -> float | None:
    """Return a header as a number; None where it is missing or none."""
    try:
        value = float(message.get(name, ""))
    except ValueError:
        return None
    return value if abs(value) < 2**53 else None
