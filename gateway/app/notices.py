"""What do the operator's notices say? One TOML file per notice, read and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field, ValidationError

from gateway.app.config_faults import ConfigError, ending
from gateway.app.config_sections import Section
from gateway.app.config_types import PageUrl
from gateway.edge.notices import ID_CHARS_MAX, Notice, Notices, NoticeText

FILE_BYTES: Final = 64 * 1024


class TextFile(Section):
    """What a notice says in one language."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    summary: Annotated[str, Field(min_length=1, max_length=4_000)]
    link: PageUrl | None = None


class NoticeFile(Section):
    """One notice as its file says it. *texts*: by language tag; the first is the default."""

    id: Annotated[str, Field(min_length=1, max_length=ID_CHARS_MAX)]
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    category: Literal["privacy", "security", "maintenance"]
    effective_at: AwareDatetime
    must_acknowledge: bool = False
    texts: Annotated[dict[str, TextFile], Field(min_length=1, max_length=50)]


def read_notices(files: Sequence[Path]) -> Notices:
    """Read the notices.

    Raises:
        ConfigError: With a sentence per fault.
    """
    notices: list[Notice] = []
    faults: list[str] = []
    for path in files:
        try:
            notices.append(_read(path))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    try:
        return Notices(notices)
    except ValueError as error:
        raise ConfigError([f"notices.files: {error}."]) from None


def _read(path: Path) -> Notice:
    try:
        with path.open("rb") as file:
            text = file.read(FILE_BYTES + 1).decode("utf-8")
        if len(text) > FILE_BYTES:
            raise ConfigError([f"Notice {path} is larger than {FILE_BYTES} bytes."])
        found = NoticeFile.model_validate(tomllib.loads(text))
    except OSError as error:
        raise ConfigError([f"Notice {path} cannot be read: {error.strerror}."]) from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError([f"Notice {path} is no TOML file: {error}."]) from None
    except ValidationError as error:
        raise ConfigError(
            [
                f"Notice {path}: {'.'.join(map(str, fault['loc']))} {ending(fault)}."
                for fault in error.errors(include_url=False)
            ]
        ) from None
    return _notice(found)


def _notice(found: NoticeFile) -> Notice:
    return Notice(
        id=found.id,
        version=found.version,
        category=found.category,
        effective_at_ms=_ms(found.effective_at),
        must_acknowledge=found.must_acknowledge,
        texts={tag: NoticeText(text.title, text.summary, text.link) for tag, text in found.texts.items()},
    )


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
