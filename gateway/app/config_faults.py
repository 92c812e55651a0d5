"""How is what is wrong with a configuration told? One sentence per fault, and never a secret."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Final, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.app.config_names import SETTINGS, SITES, Setting, hint, nearest, sections

_SECTIONS: Final = tuple(name for name, _ in sections())
_TELLING: Final = frozenset(
    {"greater_than", "greater_than_equal", "less_than", "less_than_equal", "enum", "literal_error"}
)
_SHOWN_CHARACTERS: Final = 20

_ENDINGS: Final[dict[str, str]] = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length}",
    "too_long": "must have at most {max_length}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "path_type": "must be a path",
    "tuple_type": "must be a list",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "extra_forbidden": "is unknown",
    "timezone_aware": "must be an instant with its offset, as in 2026-01-31T08:00:00Z",
    "datetime_type": "must be an instant with its offset, as in 2026-01-31T08:00:00Z",
    "value_error": "{error}",
}
"""pydantic's type of error → the end of a sentence that begins with the setting's name."""


class ConfigError(Exception):
    """The configuration cannot be used.

    Args:
        faults: A sentence each, fit to be shown: no secret in any.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class Place(NamedTuple):
    """Where in the configuration something stands."""

    section: str
    site: int | None
    key: str | None
    item: int | None

    @classmethod
    def of(cls, location: Sequence[int | str]) -> Place:
        """Read pydantic's location of an error."""
        section, *rest = location
        site = rest.pop(0) if section == SITES and rest and isinstance(rest[0], int) else None
        keys = list(takewhile(lambda part: isinstance(part, str), rest))
        item = next((part for part in rest if isinstance(part, int)), None)
        key = ".".join(map(str, keys)) or None
        return cls(str(section), site if isinstance(site, int) else None, key, item)

    @property
    def table(self) -> str:
        """The name of the table: ``client``, or ``sites[0]``."""
        return self.section if self.site is None else f"{self.section}[{self.site}]"

    @property
    def path(self) -> str:
        """The name of the setting: ``client.port``, ``sites[0].url``."""
        return self.table if self.key is None else f"{self.table}.{self.key}"

    @property
    def setting(self) -> Setting | None:
        """The setting that stands here, if one does."""
        return next((s for s in SETTINGS if (s.section, s.key) == (self.section, self.key)), None)


def sentences(error: ValidationError, origins: Mapping[str, str]) -> list[str]:
    """Return a sentence for each thing that pydantic found; *origins* as in :class:`Sources`."""
    found = error.errors(include_url=False)
    inner = {fault["loc"][:depth] for fault in found for depth in range(len(fault["loc"]))}
    return [
        _sentence(fault, origins)
        for fault in found
        if fault["type"] != "too_short" or fault["loc"] not in inner
    ]


def _sentence(found: ErrorDetails, origins: Mapping[str, str]) -> str:
    place = Place.of(found["loc"])
    setting = place.setting
    match found["type"]:
        case "extra_forbidden":
            return unknown(place)
        case "missing" if setting is not None:
            return f"{place.path} is missing: {lower(setting.field.description or '')}"
        case "missing":
            return "No site is configured: add a [[sites]] with id, url, display_name and country."
        case _:
            item = "" if place.item is None else f" (value {place.item + 1})"
            return _ended(f"{origins.get(place.path, place.path)}{item} {ending(found)}")


def ending(found: ErrorDetails) -> str:
    """Return what is wrong with a value, as the end of a sentence that begins with its name."""
    kind = found["type"]
    context = {name: f"{v:g}" if isinstance(v, float) else v for name, v in found.get("ctx", {}).items()}
    return _shown(found) + _ENDINGS.get(kind, kind.replace("_", " ")).format(**context)


def unknown(place: Place) -> str:
    """Return the sentence for a name in the file that no setting has, with the nearest that one has."""
    if place.key is None:
        return _ended(f"[{place.table}]: there is no such section{hint(place.section, _SECTIONS)}")
    keys = [setting.key for setting in SETTINGS if setting.section == place.section]
    same = {name for key in keys for name in (key, key.partition(".")[0])}
    near = nearest(place.key, same)
    if near is not None:
        return f"{place.path}: there is no such setting; did you mean {place.table}.{near}?"
    elsewhere = [setting.path for setting in SETTINGS if setting.key.rpartition(".")[2] == place.key]
    return _ended(
        f"{place.path}: there is no such setting" + (f"; did you mean {elsewhere[0]}?" if elsewhere else "")
    )


def lower(sentence: str) -> str:
    """Return *sentence* ready to stand behind a colon."""
    return sentence[:1].lower() + sentence[1:]


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith("?") else f"{sentence}."


def _shown(found: ErrorDetails) -> str:
    """Show a value where it helps and cannot be a secret: out of bounds, or none of a list of words."""
    value = found["input"]
    if (
        found["type"] in _TELLING
        and isinstance(value, int | float | str)
        and len(str(value)) <= _SHOWN_CHARACTERS
    ):
        return f"is {value}, but "
    return ""
