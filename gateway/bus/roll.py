"""Which nodes live, as Redis has it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from gateway.bus.cable import Reply
from gateway.bus.line import Line
from gateway.bus.names import NODES, Names
from gateway.bus.scripts import Script
from gateway.bus.wire import bus_down
from gateway.protocol.envelopes import NodeRecord
from gateway.runtime.ports import NODE_TTL_S

ROLL: Final = Script("roll.lua")
_LOOKED_AT: Final = 2_000
"""Keys that one step of the search looks at: each user has two of them beside the nodes'."""


class RedisRoll:
    """See :class:`gateway.runtime.ports.Roll`.

    Args:
        line: To Redis, for commands.
        names: What things are called there.
        ttl_s: How long a node lives that says nothing.
    """

    def __init__(self, line: Line, names: Names, *, ttl_s: float = NODE_TTL_S) -> None:
        self._line = line
        self._names = names
        self._ttl_ms = round(ttl_s * 1000)

    async def announce(self, record: NodeRecord) -> None:
        """See :meth:`gateway.runtime.ports.Roll.announce`."""
        fields = [word for name, value in record._asdict().items() for word in (name, _written(value))]
        await ROLL.run(self._line, (self._names.node(record.holder),), self._ttl_ms, *fields)

    async def leave(self, holder: str) -> None:
        """See :meth:`gateway.runtime.ports.Roll.leave`."""
        await self._line.answer("DEL", self._names.node(holder))

    async def nodes(self) -> tuple[NodeRecord, ...]:
        """See :meth:`gateway.runtime.ports.Roll.nodes`.

        Whatever is no record of a node, or of a node of a version too far away, is left out.
        """
        answers = await self._line.answers([("HGETALL", key) for key in await self._keys()])
        found = [_read(answer) for answer in answers]
        return tuple(sorted(record for record in found if record is not None))

    async def _keys(self) -> set[bytes]:
        keys: set[bytes] = set()
        cursor = b"0"
        while True:
            match await self._line.answer("SCAN", cursor, "MATCH", NODES, "COUNT", _LOOKED_AT):
                case [bytes(cursor), list(found)]:
                    keys.update(found)
                case _:
                    raise bus_down("it answered something else")
            if cursor == b"0":
                return keys


def _written(value: str | float) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _read(reply: Reply) -> NodeRecord | None:
    if not isinstance(reply, list):
        return None
    try:
        texts = [word.decode() for word in reply if isinstance(word, bytes)]
        fields: Mapping[str, str] = dict(zip(texts[::2], texts[1::2], strict=True))
        return msgspec.convert([fields[name] for name in NodeRecord._fields], NodeRecord, strict=False)
    except (UnicodeDecodeError, KeyError, ValueError):
        return None
