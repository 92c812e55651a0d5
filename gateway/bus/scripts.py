"""How does a script run on a server that may not know it (any more)?"""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final

from redis.exceptions import NoScriptError

from gateway.bus.cable import Reply, Word
from gateway.bus.line import Line


class Script:
    """One of this package's scripts, which decide in one step on the server.

    It is asked for by its hash. A server that does not know it is told the text with the same question,
    and knows it from then on.

    Args:
        name: Its file's name.
    """

    def __init__(self, name: str) -> None:
        self._text: Final = resources.files("gateway.bus").joinpath(name).read_text("utf-8")
        self._sha: Final = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    @property
    def greeting(self) -> tuple[Word, ...]:
        """The command that makes a server know it."""
        return ("SCRIPT", "LOAD", self._text)

    async def run(self, line: Line, keys: tuple[bytes, ...], *arguments: Word) -> Reply:
        """Run it on *keys*.

        Raises:
            GatewayError: ``bus_down``: no answer came, or a refusal.
        """
        reply = await line.ask("EVALSHA", self._sha, len(keys), *keys, *arguments)
        if isinstance(reply, NoScriptError):
            reply = await line.ask("EVAL", self._text, len(keys), *keys, *arguments)
        return line.accepted(reply)
