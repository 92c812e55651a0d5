"""Read and write frames as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, NoReturn

import msgspec

from gateway.protocol.limits import INVALID_TEXT, BadFrame, check_json_depth, unique

write: Final = msgspec.json.Encoder().encode
"""Write a plain value."""


def _no_number(_: str) -> NoReturn:
    raise BadFrame("a number is not finite")


_READER: Final = json.JSONDecoder(object_pairs_hook=unique, parse_constant=_no_number)


def read(data: bytes) -> object:
    """Read one value.

    Raises:
        BadFrame: It is not UTF-8 (1007), no JSON, or breaks a rule of
            :mod:`gateway.protocol.limits` that can be seen while reading.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadFrame("text is not UTF-8", INVALID_TEXT) from None
    check_json_depth(data)
    try:
        value: object = _READER.decode(text)
    except ValueError:  # also int()'s, which refuses thousands of digits
        raise BadFrame("not JSON") from None
    return value


def changes(
    *,
    after: int,
    upto: int,
    stream: str | None,
    reset: bool,
    more: bool,
    put: Sequence[tuple[str, bytes]],
    patch: Sequence[tuple[str, bytes]],
    gone: Sequence[str],
) -> bytes:
    """Write a `changes` frame around fragments; what is empty is left out."""
    frame = b'{"kind":"changes","after":%d,"upto":%d' % (after, upto)
    if stream is not None:
        frame += b',"stream":' + write(stream)
    if reset:
        frame += b',"reset":true'
    if more:
        frame += b',"more":true'
    if put:
        frame += b',"put":{' + b",".join([b"%b:%b" % (write(key), value) for key, value in put]) + b"}"
    if len(patch) == 1:  # most frames are this, and nothing else
        ((key, value),) = patch
        frame += b',"patch":{%b:%b}' % (write(key), value)
    elif patch:
        frame += b',"patch":{' + b",".join([b"%b:%b" % (write(key), value) for key, value in patch]) + b"}"
    if gone:
        frame += b',"gone":' + write(gone)
    return frame + b"}"
