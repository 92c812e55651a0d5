"""Operator notices: one TOML file per notice, alone or in a folder, validated and reloaded."""

from __future__ import annotations

import asyncio
import re
import tomllib
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, Literal

import structlog
from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from gateway.app.config.errors import ConfigError, fault_ending
from gateway.app.config.settings import PageUrl, Section
from gateway.edge.notices import ID_CHARS_MAX, NOTICES_MAX, NoticesInForce, NoticeText, OperatorNotice
from gateway.runtime.ports import Clock

FILE_BYTES: Final = 64 * 1024
_ID: Final = re.compile(r"[A-Za-z0-9._-]+")


def _id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise ValueError("may hold letters, digits, dots, hyphens and underscores only")
    return text


class TextFile(Section):
    """What a notice says in one language."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    summary: Annotated[str, Field(min_length=1, max_length=4_000)]
    link: PageUrl | None = None


class NoticeFile(Section):
    """One notice as its file says it. *texts*: by language tag; the first is the default."""

    id: Annotated[str, Field(min_length=1, max_length=ID_CHARS_MAX), AfterValidator(_id)]
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    category: Literal["privacy", "security", "maintenance"]
    effective_at: AwareDatetime
    must_acknowledge: bool = False
    texts: Annotated[dict[str, TextFile], Field(min_length=1, max_length=50)]


Contents = tuple[tuple[Path, bytes | str], ...]
"""The files of notices, each with its content, or with the sentence that says why it cannot be read."""


def read_notices(entries: Sequence[Path]) -> NoticesInForce:
    """Read the notices of files, and of folders that hold them.

    Raises:
        ConfigError: With a sentence per fault.
    """
    return parse_notices(read_files(entries))


def read_files(entries: Sequence[Path]) -> Contents:
    """Read the files that *entries* name, as far as they may count; of folders each ``*.toml``, by name.

    Hidden files are left out: a ConfigMap keeps its versions behind hidden names.
    """
    return tuple(islice((each for entry in entries for each in _files_of(entry)), NOTICES_MAX + 1))


def parse_notices(contents: Contents) -> NoticesInForce:
    """Return what files say.

    Raises:
        ConfigError: With a sentence per fault.
    """
    notices: list[OperatorNotice] = []
    faults: list[str] = []
    for path, content in contents:
        try:
            notices.append(_notice(_validated(path, content)))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    try:
        return NoticesInForce(notices)
    except ValueError as error:
        raise ConfigError([f"notices.files: {error}."]) from None


def _files_of(entry: Path) -> Iterator[tuple[Path, bytes | str]]:
    try:
        paths = sorted(filter(_is_shown, entry.iterdir())) if entry.is_dir() else [entry]
    except OSError as error:
        yield entry, _unreadable(entry, error)
        return
    for path in paths:
        try:
            with path.open("rb") as file:
                yield path, file.read(FILE_BYTES + 1)
        except OSError as error:
            yield path, _unreadable(path, error)


def _is_shown(path: Path) -> bool:
    return path.suffix == ".toml" and not path.name.startswith(".")


def _unreadable(path: Path, error: OSError) -> str:
    return f"Notice {path} cannot be read: {error.strerror}."


def _validated(path: Path, content: bytes | str) -> NoticeFile:
    if isinstance(content, str):
        raise ConfigError([content])
    if len(content) > FILE_BYTES:
        raise ConfigError([f"Notice {path} is larger than {FILE_BYTES} bytes."])
    try:
        found = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"Notice {path} is no TOML file: {error}."]) from None
    try:
        return NoticeFile.model_validate(found)
    except ValidationError as error:
        raise ConfigError(
            [
                f"Notice {path}: {'.'.join(map(str, fault['loc']))} {fault_ending(fault)}."
                for fault in error.errors(include_url=False)
            ]
        ) from None


def _notice(found: NoticeFile) -> OperatorNotice:
    return OperatorNotice(
        id=found.id,
        version=found.version,
        category=found.category,
        effective_at_ms=_ms(found.effective_at),
        must_acknowledge=found.must_acknowledge,
        texts={tag: NoticeText(text.title, text.summary, text.link) for tag, text in found.texts.items()},
    )


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


# ---- reload ----


_LOG: Final = structlog.get_logger("gateway.app")


class NoticesReloader:
    """The notices in force, and what keeps them so.

    Invariant: what cannot be used changes nothing, and each fault of it is logged once.

    Args:
        entries: Files, and folders of files.
        clock: Decides which of them are in force.

    Raises:
        ConfigError: They cannot be used now.
    """

    def __init__(self, entries: Sequence[Path], clock: Clock) -> None:
        self._entries: Final = entries
        self._clock = clock
        self._seen: Contents = read_files(entries)
        self.is_stale = False
        """Whether the files say something else than what is in force, as it cannot be used."""
        self.notices: Final[NoticesInForce] = parse_notices(self._seen)

    async def look(self) -> Literal["notices"] | None:
        """Put what the files say now in force; returns what stays old if it cannot be used."""
        # in a thread: a volume over the network may block its reader, and must not block the phones
        contents = await asyncio.to_thread(read_files, self._entries)
        if contents != self._seen:
            self._seen = contents
            await self._take(contents)
        return "notices" if self.is_stale else None

    async def _take(self, contents: Contents) -> None:
        try:
            found = await asyncio.to_thread(parse_notices, contents)
        except ConfigError as error:
            self.is_stale = True
            for fault in error.faults:
                _LOG.error("notices_reload_failed", fault=fault)
            return
        self.is_stale = False
        self._note(found)
        self.notices.replace(found)

    def _note(self, found: NoticesInForce) -> None:
        before = {_label(notice) for notice in self.notices.all}
        fresh = [notice for notice in found.all if _label(notice) not in before]
        gone = sorted(before.difference(map(_label, found.all)))
        new = ", ".join(map(_label, fresh))
        _LOG.info("notices_reloaded", new=new or "none", gone=", ".join(gone) or "none")
        for notice in fresh:
            if notice.category == "privacy" and notice.effective_at_ms <= self._clock.wall_ms():
                _LOG.warning("privacy_notice_late", new=_label(notice))


def _label(notice: OperatorNotice) -> str:
    return f"{notice.id} v{notice.version}"
