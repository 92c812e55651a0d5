"""Have the operator's notices changed, and who is told?

The files are looked at again and again: contents count, not names or inodes, so a ConfigMap's
swapped links are seen as well as an editor's new file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import structlog

from gateway.app.config_faults import ConfigError
from gateway.app.notices import Contents, gather, parse
from gateway.edge.notices import Notice, Notices
from gateway.runtime.ports import Clock

_LOG: Final = structlog.get_logger("gateway.app")


class NoticesWatch:
    """The notices in force, and what keeps them so.

    Invariant: what cannot be used changes nothing, and each fault of it is told once.

    Args:
        entries: Files, and folders of files.
        clock: Tells which of them bind.

    Raises:
        ConfigError: They cannot be used now.
    """

    def __init__(self, entries: Sequence[Path], clock: Clock) -> None:
        self._entries: Final = entries
        self._clock = clock
        self._seen: Contents = gather(entries)
        self.is_stale = False
        """Whether the files say something else than what is in force, as it cannot be used."""
        self.notices: Final[Notices] = parse(self._seen)

    async def look(self) -> Literal["notices"] | None:
        """Put what the files say now in force; returns what stays old if it cannot be used."""
        # in a thread: a volume over the network may let its reader wait, and no phone with him
        contents = await asyncio.to_thread(gather, self._entries)
        if contents != self._seen:
            self._seen = contents
            await self._take(contents)
        return "notices" if self.is_stale else None

    async def _take(self, contents: Contents) -> None:
        try:
            found = await asyncio.to_thread(parse, contents)
        except ConfigError as error:
            self.is_stale = True
            for fault in error.faults:
                _LOG.error("notices stay as they are", fault=fault)
            return
        self.is_stale = False
        self._note(found)
        self.notices.replace(found)

    def _note(self, found: Notices) -> None:
        before = {_named(notice) for notice in self.notices.all}
        fresh = [notice for notice in found.all if _named(notice) not in before]
        gone = sorted(before.difference(map(_named, found.all)))
        new = ", ".join(map(_named, fresh))
        _LOG.info("notices read anew", new=new or "none", gone=", ".join(gone) or "none")
        for notice in fresh:
            if notice.category == "privacy" and notice.effective_at_ms <= self._clock.wall_ms():
                _LOG.warning("a privacy notice was not announced before it took effect", new=_named(notice))


def _named(notice: Notice) -> str:
    return f"{notice.id} v{notice.version}"
