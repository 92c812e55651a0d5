"""Where do the values of the settings come from, and which names are misspelt?

The file is read first; the environment wins; an empty variable counts as not set. Nothing is
validated here but the names in the environment.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.app.config_names import BY_VARIABLE, PREFIX, SETTINGS, SITES, Setting, nearest
from gateway.app.file_access import readable_by_others, told

FILE_BYTES: Final = 1024 * 1024
SECRET_BYTES: Final = 64 * 1024
PLACEHOLDER: Final = "…"
NO_SETTINGS: Final = frozenset(
    {"OSCC_GATEWAY_WATCH_PASSWORD", "OSCC_GATEWAY_AMI_SECRET", "OSCC_GATEWAY_PERSON_PASSWORD"}
)
"""Variables of other commands."""

_SITE_VARIABLE: Final = re.compile(rf"({PREFIX}__SITES__)(\d{{1,3}})(__\w+?)")
_SERVICE_LINK: Final = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")

Table = dict[str, object]


@dataclass(slots=True)
class Sources:
    """Raw values and where each came from.

    *origins*: path of a setting → ``file`` or a variable's name. *is_unread*: there is a file, and nothing of
    it could be taken, so that what is missing may stand there.
    """

    values: Table = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    is_unread: bool = False


def read(path: Path | None, environ: Mapping[str, str]) -> Sources:
    """Read the file, if there is one, then the environment."""
    sources = Sources()
    if path is not None:
        _read_file(path, sources)
        sources.is_unread = bool(sources.faults)
    for name in sorted(environ, key=_by_number):
        meant = name.upper().startswith(PREFIX) or _is_near_miss(name)
        if meant and environ[name] and not _is_of_others(name, environ[name]):
            _take_variable(name, environ, sources)
    return sources


def _read_file(path: Path, sources: Sources) -> None:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES + 1)
        if len(raw) > FILE_BYTES:
            sources.faults.append(f"{path} is larger than {FILE_BYTES} bytes.")
            return
        sources.values = tomllib.loads(raw.decode("utf-8"))
        _drop_placeholders(sources.values)
    except OSError as error:
        sources.faults.append(f"{path} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        sources.faults.append(f"{path} is not UTF-8.")
    except tomllib.TOMLDecodeError as error:
        sources.faults.append(f"{path} is not TOML: {error}.")


def _drop_placeholders(values: Table) -> None:
    """Leave out secrets that still are the documentation's ``…``, and a [secrets] that is empty then.

    What everybody can read in the documentation must not count as a secret.
    """
    for setting in SETTINGS:
        table = values.get(setting.section)
        if setting.secret and isinstance(table, dict) and _is_placeholder(table.get(setting.key)):
            del table[setting.key]
    if values.get("secrets") == {}:
        del values["secrets"]


def _is_placeholder(value: object) -> bool:
    match value:
        case str():
            return value.endswith(PLACEHOLDER)
        case [str() as only]:
            return only.endswith(PLACEHOLDER)
        case _:
            return False


# ---- the environment ----


def _by_number(name: str) -> str:
    """Sort places by their number: site 2 before site 10."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(3), name)


def _is_near_miss(name: str) -> bool:
    """Whether a variable was meant for the gateway although its first word is misspelt."""
    return name.startswith("OSCC") and "__" in name and nearest(name, BY_VARIABLE, cutoff=0.9) is not None


def _is_of_others(name: str, value: str) -> bool:
    """Whether a variable is another command's, or Kubernetes made it for a Service with our name."""
    if name in NO_SETTINGS:
        return True
    is_address = name.endswith("_PORT") and value.startswith(("tcp://", "udp://", "sctp://"))
    return "__" not in name and (is_address or _SERVICE_LINK.search(name) is not None)


def _take_variable(name: str, environ: Mapping[str, str], sources: Sources) -> None:
    place, general = _split_place(name)
    setting = BY_VARIABLE.get(general)
    if setting is not None:
        _put(setting, place, _parts(setting, environ[name]), name, sources)
        return
    setting = BY_VARIABLE.get(general.removesuffix("_FILE"))
    if setting is not None and setting.from_file:
        _take_file(setting, place, name, environ, sources)
        return
    near = nearest(general, (*BY_VARIABLE, *(f"{v}_FILE" for v, s in BY_VARIABLE.items() if s.from_file)))
    meant = f"; did you mean {near.replace('<n>', place or '0')}?" if near is not None else "."
    sources.faults.append(f"{name}: there is no such setting{meant}")


def _take_file(
    setting: Setting, place: str | None, name: str, environ: Mapping[str, str], sources: Sources
) -> None:
    if name.removesuffix("_FILE") in environ:
        sources.faults.append(f"{name} and {name.removesuffix('_FILE')} are both set; which one counts?")
        return
    try:
        with Path(environ[name]).open("rb") as file:
            text = file.read(SECRET_BYTES + 1).decode("utf-8").strip()
    except OSError as error:
        sources.faults.append(f"{name}: {environ[name]} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        sources.faults.append(f"{name}: {environ[name]} is not UTF-8.")
    else:
        if setting.secret and readable_by_others(Path(environ[name])):
            sources.faults.append(told(name, Path(environ[name])))
        elif not text or len(text) >= SECRET_BYTES:
            sources.faults.append(f"{name}: {environ[name]} is empty or larger than {SECRET_BYTES} bytes.")
        else:
            _put(setting, place, _parts(setting, text), name, sources)


def _split_place(name: str) -> tuple[str | None, str]:
    """Split the place out of a site's variable: ``…__SITES__2__URL`` → 2 and ``…__SITES__<n>__URL``."""
    match = _SITE_VARIABLE.fullmatch(name)
    return (match[2], f"{match[1]}<n>{match[3]}") if match is not None else (None, name)


def _parts(setting: Setting, text: str) -> str | list[str]:
    """Read a list as words between blanks, commas or new lines."""
    return [part for part in re.split(r"[\s,]+", text) if part] if setting.many else text


def _put(setting: Setting, place: str | None, value: str | list[str], name: str, sources: Sources) -> None:
    if setting.section != SITES:
        table = sources.values.setdefault(setting.section, {})
    else:
        table = _site(int(place or 0), name, sources)
    *tables, key = setting.key.split(".")
    for inner in tables:
        table = table.setdefault(inner, {}) if isinstance(table, dict) else None
    if isinstance(table, dict):
        table[key] = value
        sources.origins[setting.path.replace("<n>", place or "0")] = name


def _site(place: int, name: str, sources: Sources) -> object:
    sites = sources.values.setdefault(SITES, [])
    if not isinstance(sites, list):
        return None
    if place > len(sites):
        sources.faults.append(f"{name}: there is no site before place {place}; the first has place 0.")
        return None
    if place == len(sites):
        sites.append({})
    return sites[place]
