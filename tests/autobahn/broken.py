"""Bugs of the edge that the Autobahn cases must find."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final
from unittest import mock

from gateway.edge.channel import Channel
from gateway.protocol import websocket
from gateway.protocol.websocket import Parser

SEEDED: Final[dict[str, Callable[[], AbstractContextManager[object]]]] = {
    "none": nullcontext,
    "reserved bits pass": partial(mock.patch.object, websocket, "_RESERVED", 0),
    "pings are not answered": partial(mock.patch.object, Channel, "_flush_pongs"),
    "any bytes are text": partial(mock.patch.object, Parser, "_read"),
    "a message begins within another": partial(mock.patch.object, Parser, "_check"),
    "closes are not answered": partial(mock.patch.object, Channel, "_write_close"),
}

FOUND_BY: Final = {
    "reserved bits pass": "3.1",
    "pings are not answered": "2.2",
    "any bytes are text": "6.3.1",
    "a message begins within another": "5.18",
    "closes are not answered": "7.1.1",
}
"""Bug → a case that must not be OK."""
