"""Which settings exist, and by which names in the file and in the environment?"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gateway.app.config_sections import Settings

PREFIX: Final = "OSCC_GATEWAY"
SITES: Final = "sites"


class Setting(NamedTuple):
    """One setting. In a site's names ``<n>`` stands for the site's place, counted from 0.

    *key*: with the table before it where one stands inside the section, as in ``remote_numbers.allow``.
    """

    section: str
    key: str
    field: FieldInfo

    @property
    def path(self) -> str:
        """Its name in the file, as in ``client.port`` or ``sites[<n>].url``."""
        return f"{self.section}{'[<n>]' if self.section == SITES else ''}.{self.key}"

    @property
    def variable(self) -> str:
        """Its name in the environment, as in ``OSCC_GATEWAY__CLIENT__PORT``."""
        place = "__<n>" if self.section == SITES else ""
        return f"{PREFIX}__{self.section.upper()}{place}__{self.key.upper().replace('.', '__')}"

    @property
    def secret(self) -> bool:
        """Whether its value is never shown."""
        return self.section == "secrets" or (self.section, self.key) in {
            ("admin", "token"),
            (SITES, "asterisk.secret"),
        }

    @property
    def from_file(self) -> bool:
        """Whether ``<variable>_FILE`` may name a file that holds it; a bus's address may hold a password."""
        return self.secret or (self.section, self.key) == ("bus", "url")

    @property
    def many(self) -> bool:
        """Whether it is a list, or a table that the environment writes as one."""
        return typing.get_origin(self.field.annotation) in {tuple, dict}


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield each table's name and class, in the order in which they are explained."""
    for name, field in Settings.model_fields.items():
        match field.annotation:
            case type() as section if issubclass(section, BaseModel):
                yield name, section
            case annotation:
                inner = (part for part in typing.get_args(annotation) if isinstance(part, type))
                yield name, next(part for part in inner if issubclass(part, BaseModel))


def _settings() -> Iterator[Setting]:
    for name, section in sections():
        for key, field in _fields(section):
            yield Setting(name, key, field)


def _fields(table: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for key, field in table.model_fields.items():
        inner = _table(field.annotation)
        if inner is None:
            yield key, field
        else:
            yield from ((f"{key}.{inner_key}", inner_field) for inner_key, inner_field in _fields(inner))


def _table(annotation: object) -> type[BaseModel] | None:
    """Return the table that a setting is; None for a plain value."""
    for one in (annotation, *typing.get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


SETTINGS: Final = tuple(_settings())
BY_VARIABLE: Final = {setting.variable: setting for setting in SETTINGS}


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the name among *known* that *name* was probably meant to be."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return found[0] if found else None


def hint(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean …?``, or nothing when no known name is near."""
    near = nearest(name, known)
    return f"; did you mean {near}?" if near is not None else ""
