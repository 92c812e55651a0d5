"""Codec: frames as bytes, and back, with the limits of size, depth and numbers.

The JSON codec and the msgpack codec accept and refuse the same values: one set of rules for both. They refuse
too many bytes, too deep nesting, integers that not every client can hold (RFC 8259 §6), NaN and infinities,
lone surrogates, keys that are no strings or are repeated, and values that JSON lacks. State is written in
fragments. Each fragment is made once and joined into the frames of all its readers.

Plain values: dataclasses become mappings, tuples lists, enumerations their values. A field is left out when
its value and its default are both None, or both False: an absent field means its default. A field without a
default, or marked :data:`~gateway.protocol.frames.ALWAYS_WRITTEN`, is written as null when it has no value.
Members of a mapping are data, not fields: their nulls stay.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, Final, NamedTuple, NoReturn, TypeVar, cast

import msgpack  # type: ignore[import-untyped]  # ships no types
import msgspec
from pydantic import ValidationError

from gateway.domain.resources import QueueFigures, Resource
from gateway.protocol.frames import (
    ALWAYS_WRITTEN,
    CLIENT_FRAME,
    GATEWAY_FRAME,
    INT_MAX,
    JSON_PROTOCOL,
    MSGPACK_PROTOCOL,
    ClientFrame,
    CommandFrame,
    ControlFrame,
    GatewayFrame,
    Ping,
    replace_later_values,
    what_is_wrong,
)
from gateway.protocol.websocket import BINARY, TEXT, Heads

BYTES_IN_MAX: Final = 16 * 1024
"""Largest frame that a phone may send."""
BYTES_OUT_MAX: Final = 256 * 1024
"""Largest frame that the gateway sends."""
DEPTH_MAX: Final = 16
"""Nesting of objects and arrays, including the frame itself."""
ID_CHARS_MAX: Final = 128

TOO_BIG: Final = 1009
INVALID_TEXT: Final = 1007

_TOO_DEEP: Final = "nested too deeply"


class BadFrame(Exception):  # noqa: N818 - names what came, as the protocol's page does
    """Bytes that are no frame. Its text never has any of them.

    Args:
        reason: A few plain words.
        close_code: The close code of RFC 6455 §7.4.1; None when the session answers ``bad_request``.
        frame_id: The `id` of the frame, if there was one.
    """

    def __init__(self, reason: str, close_code: int | None = None, frame_id: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.close_code = close_code
        self.frame_id = frame_id


class UnknownKind(BadFrame):
    """A well-formed object of an unknown kind; clients ignore it."""


def check_size(data: bytes, size_bytes: int) -> None:
    """Refuse *data* longer than *size_bytes*.

    Raises:
        BadFrame: Close with 1009.
    """
    if len(data) > size_bytes:
        raise BadFrame("frame is too big", TOO_BIG)


def unique(pairs: Iterable[tuple[object, object]]) -> dict[str, object]:
    """Make an object of its members.

    Raises:
        BadFrame: A key is no string, or comes twice.
    """
    members: dict[str, object] = {}
    for key, value in pairs:
        if type(key) is not str:
            raise BadFrame("a key is not a string")
        if key in members:
            raise BadFrame("a key comes twice")
        members[key] = value
    return members


def check_value(value: object) -> None:
    """Refuse a decoded *value* with a broken rule anywhere inside. Its depth was checked before.

    Raises:
        BadFrame: With the rule that it breaks.
    """
    if isinstance(value, str):
        if not _is_unicode(value):
            raise BadFrame("a lone surrogate")
    elif isinstance(value, dict):
        for member in chain(value.keys(), value.values()):
            if not (isinstance(member, str) and member.isascii()):  # as most are
                check_value(member)
    elif isinstance(value, list):
        for member in value:
            check_value(member)
    else:
        _check_scalar(value)


def frame_id(value: object) -> str | None:
    """Return the `id` of a frame that is otherwise bad, for the answer that refuses it."""
    if not isinstance(value, dict):
        return None
    found = value.get("id")
    if not isinstance(found, str) or not 0 < len(found) <= ID_CHARS_MAX or not _is_unicode(found):
        return None
    return found


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_scalar(value: object) -> None:
    match value:
        case None | bool():
            return
        case int():
            if not -INT_MAX <= value <= INT_MAX:
                raise BadFrame("an integer is out of range")
        case float():
            if not math.isfinite(value):
                raise BadFrame("a number is not finite")
        case _:
            raise BadFrame("a value of a type that frames do not have")


# ---- depth, before anything is built ----

_JSON_NESTING: Final = re.compile(rb'"(?:[^"\\]+|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""Strings, terminated or not (so that each byte is scanned once), and brackets."""


def check_json_depth(data: bytes) -> None:
    """Refuse JSON that opens too many objects and arrays inside each other, without building any.

    Raises:
        BadFrame: It is too deep.
    """
    if data.count(b"{") + data.count(b"[") <= DEPTH_MAX:
        return
    depth = 0
    for found in _JSON_NESTING.finditer(data):
        match data[found.start()]:
            case 0x7B | 0x5B:  # { [
                depth += 1
                if depth > DEPTH_MAX:
                    raise BadFrame(_TOO_DEEP)
            case 0x7D | 0x5D:  # } ]
                depth -= 1


_MSGPACK_OPENS: Final = frozenset([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])
"""Heads of maps and arrays."""
_MSGPACK_OTHERS: Final = bytes(head for head in range(256) if head not in _MSGPACK_OPENS)
_SCALAR_BYTES: Final = {
    0xCA: 5, 0xCB: 9, 0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9,
    0xD4: 3, 0xD5: 4, 0xD6: 6, 0xD7: 10, 0xD8: 18,
}  # fmt: skip
"""Head → length of the whole value: floats, integers, fixext."""
_LENGTH_BYTES: Final = {
    0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4,
    0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4,
}  # fmt: skip
"""Head → width of the length that follows: bin, ext, str, array, map."""


def check_msgpack_depth(data: bytes) -> None:
    """Refuse msgpack that opens too many maps and arrays inside each other, without building any.

    A header of five bytes can demand four billion elements, so this check comes before any allocation.

    Raises:
        BadFrame: It is too deep.
    """
    if len(data.translate(None, _MSGPACK_OTHERS)) <= DEPTH_MAX:
        return
    waiting: list[int] = []
    at, end = 0, len(data)
    while at < end:
        at, children = _step(data, at)
        if children is not None and len(waiting) == DEPTH_MAX:
            raise BadFrame(_TOO_DEEP)
        if children:
            waiting.append(children)
            continue
        while waiting:
            waiting[-1] -= 1
            if waiting[-1]:
                break
            waiting.pop()


def _step(data: bytes, at: int) -> tuple[int, int | None]:
    """Return the end of the value at *at* without its children, and their number; None: it can have none."""
    head = data[at]
    if head < 0x80 or head >= 0xE0:  # fixint
        return at + 1, None
    if head < 0xA0:  # fixmap, fixarray
        return at + 1, (head & 0x0F) * (2 if head < 0x90 else 1)
    if head < 0xC0:  # fixstr
        return at + 1 + (head & 0x1F), None
    width = _LENGTH_BYTES.get(head)
    if width is None:
        return at + _SCALAR_BYTES.get(head, 1), None
    length = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    at += 1 + width
    if head >= 0xDE:
        return at, 2 * length
    if head >= 0xDC:
        return at, length
    return at + length + (1 if 0xC7 <= head <= 0xC9 else 0), None


F = TypeVar("F")

# ---- plain values ----

Plain = dict[str, object]
"""Values of JSON and msgpack: strings, numbers, booleans, None, lists, and mappings of these."""

_SCALARS: Final = frozenset({str, int, bool, float, type(None)})


class _Shape(NamedTuple):
    """The fields of one dataclass, for encoding."""

    names: tuple[str, ...]
    values: Callable[[Any], tuple[object, ...]]
    left_out: tuple[object, ...]
    """For each field, the value that is left out: None, False, or an ellipsis, which no field has."""


class _Shapes(dict[type, _Shape]):
    """The shape of each type, made at its first use; as many as the protocol has dataclasses."""

    def __missing__(self, of: type[Any]) -> _Shape:
        listed = sorted(dataclasses.fields(of), key=lambda field: field.name != "kind")
        names = tuple(field.name for field in listed)
        values = msgspec.structs.astuple if names == getattr(of, "__struct_fields__", ()) else _getter(names)
        made = self[of] = _Shape(names, values, tuple(_left_out(field) for field in listed))
        return made


_SHAPES: Final = _Shapes()


def plain(value: object) -> object:
    """Return the plain form of *value*."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, enum.Enum):
        return value._value_  # what `value` returns, without its two calls
    if isinstance(value, tuple | list):
        return [member if type(member) in _SCALARS else plain(member) for member in value] if value else []
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    return plain_fields(value)


def plain_fields(value: object) -> Plain:
    """Return the plain form of the dataclass *value*; its `kind`, if it has one, comes first."""
    of = type(value)
    return (_PLAIN_FORMS.get(of) or _plain_form(of))(value)


_PLAIN_FORMS: Final[dict[type, Callable[[Any], Plain]]] = {}
"""What :func:`_plain_form` has returned, by type."""


def _plain_form(of: type[Any]) -> Callable[[Any], Plain]:
    """Return :func:`plain_fields` for one type.

    Its code is made of the names of the fields, as in dataclasses: a loop takes three times as long.
    """
    body = [
        f" if (member := value.{name}) is not {left_out}:\n"
        f"  made['{name}'] = member if type(member) in scalars else plain(member)\n"
        for name, left_out in zip(_SHAPES[of].names, _SHAPES[of].left_out, strict=True)
    ]
    made: dict[str, Any] = {"scalars": _SCALARS, "plain": plain}
    code = f"def plain_form(value):\n made = {{}}\n{''.join(body)} return made"
    exec(code, made)  # noqa: S102 - it has nothing but the names of fields
    _PLAIN_FORMS[of] = made["plain_form"]
    return _PLAIN_FORMS[of]


def _left_out(field: dataclasses.Field[Any]) -> object:
    if ALWAYS_WRITTEN in field.metadata or (field.default is not None and field.default is not False):
        return ...
    return field.default


def _getter(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    if len(names) > 1:
        return cast("Callable[[object], tuple[object, ...]]", attrgetter(*names))
    only = attrgetter(*names)
    return lambda value: (only(value),)


# ---- JSON ----

write_json: Final = msgspec.json.Encoder().encode
"""Write a plain value."""


def _no_number(_: str) -> NoReturn:
    raise BadFrame("a number is not finite")


_JSON_READER: Final = json.JSONDecoder(object_pairs_hook=unique, parse_constant=_no_number)


def read_json(data: bytes) -> object:
    """Read one value.

    Raises:
        BadFrame: It is not UTF-8 (1007), no JSON, or breaks a rule of :mod:`gateway.protocol.codec` that is
            checked while reading.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadFrame("text is not UTF-8", INVALID_TEXT) from None
    check_json_depth(data)
    try:
        value: object = _JSON_READER.decode(text)
    except ValueError:  # int() raises it, too, for thousands of digits
        raise BadFrame("not JSON") from None
    return value


class Members(NamedTuple):
    """Members of a map in the encoding of one codec, one after the other.

    *size*: their number. *written*: all of them, without the ends of the map.
    """

    size: int
    written: bytes


Fragments = Sequence[tuple[str, bytes]]
"""Names with encoded values."""

_JSON_PATCHES: Final = b'{"kind":"changes","after":%d,"upto":%d,"patch":{%b}}'
_JSON_PATCH: Final = b'{"kind":"changes","after":%d,"upto":%d,"patch":{%b:%b}}'


# ---- msgpack ----

write_msgpack: Final = msgspec.msgpack.Encoder().encode
"""Write a plain value."""
_FIXMAP: Final = tuple(bytes([0x80 | count]) for count in range(16))
_PATCHES: Final = _FIXMAP[4] + write_msgpack("kind") + write_msgpack("changes") + write_msgpack("after")
_UPTO: Final = write_msgpack("upto")
_PATCH: Final = write_msgpack("patch")


def read_msgpack(data: bytes) -> object:
    """Read one value. Extension types and binary values become objects that no frame may have.

    Raises:
        BadFrame: It is no msgpack, or breaks a rule of :mod:`gateway.protocol.codec` that is checked while
            reading.
    """
    check_msgpack_depth(data)
    try:
        value: object = msgpack.unpackb(data, strict_map_key=False, object_pairs_hook=unique)
    except ValueError:  # every error of msgpack is one; texts that are not UTF-8 too
        raise BadFrame("not msgpack") from None
    return value


def _map_head(count: int) -> bytes:
    if count < 16:
        return _FIXMAP[count]
    if count < 0x10000:
        return b"\xde" + count.to_bytes(2, "big")
    return b"\xdf" + count.to_bytes(4, "big")


# ---- frames ----


class Codec(ABC):
    """One subprotocol's encoding.

    Invariant: holds no state but kept heads; the two that exist are :data:`JSON` and :data:`MSGPACK`.

    Args:
        text: Whether its frames are text messages, not binary ones.
        write: Encodes a plain value.
        read: Reads one value from all bytes, or raises :class:`BadFrame`.
    """

    __slots__ = ("_changes_begin", "_read", "_write", "heads", "name", "subprotocol", "text")

    def __init__(
        self,
        name: str,
        subprotocol: str,
        *,
        text: bool,
        write: Callable[[object], bytes],
        read: Callable[[bytes], object],
    ) -> None:
        self.name: Final = name
        self.subprotocol: Final = subprotocol
        self.text: Final = text
        self.heads: Final = Heads(TEXT if text else BINARY)
        """Heads of its frames as WebSocket messages, by the size of the frame."""
        self._write = write
        self._read = read
        self._changes_begin = self.members([("kind", write("changes"))]).written

    def __repr__(self) -> str:
        return f"Codec({self.subprotocol})"

    # ---- frames ----

    def is_changes(self, frame: bytes) -> bool:
        """Return whether *frame*, an output of :meth:`changes` or :meth:`encode`, is a `changes` frame."""
        return frame.startswith(self._changes_begin, 1)

    def encode(self, frame: ClientFrame | ControlFrame | Ping) -> bytes:
        """Encode a frame; optional fields without a value are left out."""
        return self._write(plain_fields(frame))

    def decode_client(self, data: bytes, *, size_bytes: int = BYTES_IN_MAX) -> ClientFrame:
        """Decode a frame of a phone.

        Raises:
            BadFrame: It is no client frame; it has the close code or the answer.
        """
        return self._decode(data, size_bytes, _client_frame, path_shown=4)

    def decode_gateway(self, data: bytes, *, size_bytes: int = BYTES_OUT_MAX) -> GatewayFrame:
        """Decode a frame of a gateway.

        Values of enumerations that a later gateway added are replaced by known ones.

        Raises:
            UnknownKind: A kind of frame of a later gateway; to be ignored.
            BadFrame: It is no gateway frame.
        """
        return self._decode(data, size_bytes, _gateway_frame, path_shown=2)

    def _decode(
        self, data: bytes, size_bytes: int, frame_of: Callable[[dict[str, Any]], F], path_shown: int
    ) -> F:
        check_size(data, size_bytes)
        value = self._read(data)
        if type(value) is not dict:
            raise BadFrame("a frame is one object")
        try:
            check_value(value)
            return frame_of(value)
        except BadFrame as bad:
            raise BadFrame(bad.reason, frame_id=frame_id(value)) from None
        except ValidationError as error:
            raise _bad_frame(error, path_shown, frame_id(value)) from None

    # ---- fragments ----

    def fragment(self, value: Resource) -> bytes:
        """Encode the whole *value* of a resource, for a `put`."""
        return self._write(plain_fields(value))

    def patch_fragment(self, before: Resource | QueueFigures, after: Resource | QueueFigures) -> bytes | None:
        """Encode the fields in which *after* differs, for a `patch`; None when none does.

        Fields are replaced whole, cleared ones are null. Both are values of one key.
        """
        differing = _COMPARISONS.get(type(after)) or _comparison(type(after))
        changed, write = differing(before, after), self._write
        return write(changed) if changed else None

    @abstractmethod
    def members(self, members: Fragments) -> Members:
        """Encode *members* of a map once for many frames."""

    def changes(
        self,
        *,
        after: int,
        upto: int,
        stream: str | None,
        reset: bool,
        more: bool,
        put: Fragments,
        patch: Fragments,
        gone: Sequence[str],
    ) -> bytes:
        """Encode a `changes` frame around fragments of this codec; empty fields are left out."""
        head: dict[str, object] = {"kind": "changes", "after": after, "upto": upto}
        if stream is not None:
            head["stream"] = stream
        if reset:
            head["reset"] = True
        if more:
            head["more"] = True
        fields = [(name, self._write(value)) for name, value in head.items()]
        fields += [(name, self._map(each)) for name, each in (("put", put), ("patch", patch)) if each]
        if gone:
            fields.append(("gone", self._write(gone)))
        return self._map(fields)

    @abstractmethod
    def patches(self, after: int, upto: int, patch: Fragments | Members) -> bytes:
        """Encode the usual `changes` frame, as :meth:`changes` does: patches from one seq up to another."""

    def one_patch(self, after: int, upto: int, key: str, fragment: bytes) -> bytes:
        """Encode the same around a single patch, which most frames have."""
        return self.patches(after, upto, [(key, fragment)])

    @abstractmethod
    def _map(self, members: Fragments) -> bytes:
        """Encode a map of *members*."""


class JsonCodec(Codec):
    """The encoding as JSON."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("json", JSON_PROTOCOL, text=True, write=write_json, read=read_json)

    def members(self, members: Fragments) -> Members:
        """Encode *members* of an object once for many frames."""
        written = [b"%b:%b" % (write_json(key), value) for key, value in members]
        return Members(len(members), b",".join(written))

    def patches(self, after: int, upto: int, patch: Fragments | Members) -> bytes:
        """Encode a `changes` frame around one or more patches alone."""
        members = patch if isinstance(patch, Members) else self.members(patch)
        return _JSON_PATCHES % (after, upto, members.written)

    def one_patch(self, after: int, upto: int, key: str, fragment: bytes) -> bytes:
        """Encode the same around a single patch, which most frames have."""
        return _JSON_PATCH % (after, upto, write_json(key), fragment)

    def _map(self, members: Fragments) -> bytes:
        return b"{%b}" % self.members(members).written


class MsgpackCodec(Codec):
    """The encoding as msgpack."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("msgpack", MSGPACK_PROTOCOL, text=False, write=write_msgpack, read=read_msgpack)

    def members(self, members: Fragments) -> Members:
        """Encode *members* of a map once for many frames."""
        return Members(len(members), b"".join([write_msgpack(key) + value for key, value in members]))

    def patches(self, after: int, upto: int, patch: Fragments | Members) -> bytes:
        """Encode a `changes` frame around one or more patches alone."""
        members = patch if isinstance(patch, Members) else self.members(patch)
        numbers = _PATCHES + write_msgpack(after) + _UPTO + write_msgpack(upto) + _PATCH
        return b"%b%b%b" % (numbers, _map_head(members.size), members.written)

    def _map(self, members: Fragments) -> bytes:
        return _map_head(len(members)) + self.members(members).written


_COMPARISONS: Final[dict[type, Callable[[Any, Any], Plain]]] = {}


def _comparison(of: type[Any]) -> Callable[[Any, Any], Plain]:
    """Return a function that returns the plain fields of its second argument that differ in the first.

    Its code is made of their names, as in dataclasses: a loop takes four times as many instructions.
    """
    body = [
        f" if after.{name} is not before.{name} and after.{name} != before.{name}:\n"
        f"  new = after.{name}\n"
        f"  changed['{name}'] = new if type(new) in scalars else plain(new)\n"
        for name in _SHAPES[of].names
    ]
    made: dict[str, Any] = {"scalars": _SCALARS, "plain": plain}
    code = f"def differing(before, after):\n changed = {{}}\n{''.join(body)} return changed"
    exec(code, made)  # noqa: S102 - it has nothing but the names of fields
    _COMPARISONS[of] = made["differing"]
    return _COMPARISONS[of]


def _client_frame(sent: dict[str, Any]) -> ClientFrame:
    """Make a client frame of plain values, which the types of commands would convert.

    A null member of a command counts as not sent, as everywhere in the protocol.

    Raises:
        BadFrame: A value in the command has the wrong type.
        ValidationError: It is no client frame.
    """
    command = sent.get("command")
    if type(command) is dict and None in command.values():
        sent["command"] = {name: member for name, member in command.items() if member is not None}
    frame = CLIENT_FRAME.validate_python(sent)
    if type(frame) is CommandFrame and not _is_same(frame.command, sent["command"]):
        raise BadFrame("command.command contains a value of another type, as 5.0 or true for 5")
    return frame


def _is_same(value: object, sent: object) -> bool:
    """Return whether no scalar of *sent* had to be converted for *value*."""
    if sent is value:
        return True
    of = type(value)
    if of in _SCALARS:
        return of is type(sent) and value == sent
    if isinstance(sent, dict):
        members: Iterable[tuple[str, object]]
        if isinstance(value, dict):
            members = value.items()
        else:
            members = zip(_SHAPES[of].names, _SHAPES[of].values(value), strict=True)
        for name, member in members:  # noqa: SIM110 - a generator takes a call more for each member
            if name in sent and not _is_same(member, sent[name]):
                return False
        return True
    return isinstance(value, tuple) and isinstance(sent, list) and all(map(_is_same, value, sent))


def _gateway_frame(sent: dict[str, Any]) -> GatewayFrame:
    replace_later_values(sent)
    return GATEWAY_FRAME.validate_python(sent)


def _bad_frame(error: ValidationError, path_shown: int, id_: str | None) -> BadFrame:
    """Describe a fault by the names of our own fields, never by its values.

    *path_shown*: how many names of the path are shown; deeper ones may be data.
    """
    names, fault, what = what_is_wrong(error)
    if names[:2] == ("command", "command"):
        names = names[:2] + names[3:]  # the third is the kind of the command, and no member
        path_shown -= 1
    path = ".".join(names[:path_shown])
    if len(names) > path_shown:
        what = "contains a value that is not allowed"
    if fault == "union_tag_invalid":
        return UnknownKind(f"{path} has an unknown kind" if path else "unknown kind", frame_id=id_)
    return BadFrame(f"{path or 'a frame'} {what}", frame_id=id_)


JSON: Final[Codec] = JsonCodec()
MSGPACK: Final[Codec] = MsgpackCodec()
_CODECS: Final = {each.subprotocol: each for each in (JSON, MSGPACK)}


def codec_for(subprotocol: str) -> Codec | None:
    """Return the codec of a WebSocket subprotocol; None when there is no such subprotocol."""
    return _CODECS.get(subprotocol)
