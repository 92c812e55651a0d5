"""Load a configuration from a TOML file and the environment, and print it without its secrets.

The file is read first, environment variables override it, and an empty variable counts as not set.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import stat
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from gateway.app.config import errors as config_errors
from gateway.app.config.errors import (
    BY_VARIABLE,
    PREFIX,
    SETTINGS,
    SITES,
    ConfigError,
    Setting,
    did_you_mean,
    fault_sentences,
    nearest,
    sections,
)
from gateway.app.config.settings import HIDDEN, KEY_BYTES, SealingKey, SecretKey, SecretsSection, Settings


def readable_by_others(path: Path) -> bool:
    """Return whether any user of this machine may read the file at *path*.

    The group may read it: the operator chooses its members, and Kubernetes and systemd pass secrets in this
    way. A file in a folder that others may not enter is safe, whatever its own mode. So is a file that is
    mounted alone, as compose mounts secrets: its mode is that of the host, where its folder protects it.
    Links are followed.
    """
    real = Path(os.path.realpath(path))
    try:
        if not real.stat().st_mode & stat.S_IROTH or real.is_mount():
            return False
        return all(folder.stat().st_mode & stat.S_IXOTH for folder in real.parents)
    except OSError:
        return False  # the reader of the file reports that error


def readable_fault(name: str, path: Path) -> str:
    """Return the fault of a secret's file at *path*, named by *name*, if others may read it."""
    return f"{name}: {path} can be read by every user of this machine: `chmod o-rwx` it."


# ---- file and environment ----


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

    *origins*: path of a setting → ``file`` or a variable's name. *unread*: paths of settings whose own file
    is a fault. *is_unread*: the file could not be read, so missing values may be in it.
    """

    values: Table = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    is_unread: bool = False


def read_sources(path: Path | None, environ: Mapping[str, str]) -> Sources:
    """Read the file, if there is one, then the environment."""
    sources = Sources()
    if path is not None:
        _read_file(path, sources)
        sources.is_unread = bool(sources.faults)
    for name in sorted(environ, key=_by_number):
        meant = name.upper().startswith(PREFIX) or _is_near_miss(name)
        if meant and environ[name] and not _is_foreign(name, environ[name]):
            _take_variable(name, environ, sources)
    return sources


def _read_file(path: Path, sources: Sources) -> None:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES + 1)
        if len(raw) > FILE_BYTES:
            sources.faults.append(f"{path} is larger than {FILE_BYTES} bytes.")
            return
        sources.values = tomllib.loads(raw.decode("utf-8-sig"))
        _drop_placeholders(sources.values)
    except OSError as error:
        sources.faults.append(f"{path} cannot be read: {error.strerror}.")
    except UnicodeDecodeError:
        sources.faults.append(f"{path} is not UTF-8.")
    except tomllib.TOMLDecodeError as error:
        sources.faults.append(f"{path} is not TOML: {error}.")


def _drop_placeholders(values: Table) -> None:
    """Remove secrets that are still the documentation's ``…``, and a [secrets] table that is then empty.

    A text of the documentation must not count as a secret.
    """
    for setting in SETTINGS:
        if not setting.secret:
            continue
        *tables, key = setting.key.split(".")
        found = values.get(setting.section)
        for table in found if isinstance(found, list) else [found]:
            held = table
            for name in tables:
                held = held.get(name) if isinstance(held, dict) else None
            if isinstance(held, dict) and _is_placeholder(held.get(key)):
                del held[key]
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
    """Sort indexes by number: site 2 before site 10."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(3), name)


def _is_near_miss(name: str) -> bool:
    """Return whether a variable was meant for the gateway although its first word is misspelt."""
    return name.startswith("OSCC") and "__" in name and nearest(name, BY_VARIABLE, cutoff=0.9) is not None


def _is_foreign(name: str, value: str) -> bool:
    """Return whether a variable belongs to another command, or to a Kubernetes Service of our name."""
    if name in NO_SETTINGS:
        return True
    is_address = name.endswith("_PORT") and value.startswith(("tcp://", "udp://", "sctp://"))
    return "__" not in name and (is_address or _SERVICE_LINK.search(name) is not None)


def _take_variable(name: str, environ: Mapping[str, str], sources: Sources) -> None:
    place, general = _split_place(name)
    setting = BY_VARIABLE.get(general)
    if setting is not None:
        _store(setting, place, _parts(setting, environ[name]), name, sources)
        return
    setting = BY_VARIABLE.get(general.removesuffix("_FILE"))
    if setting is not None and setting.from_file:
        _take_file(setting, place, name, environ, sources)
        path = setting.path.replace("<n>", place or "0")
        if path not in sources.origins:
            sources.unread.add(path)
        return
    near = nearest(general, (*BY_VARIABLE, *(f"{v}_FILE" for v, s in BY_VARIABLE.items() if s.from_file)))
    meant = did_you_mean(near and near.replace("<n>", place or "0"))
    sources.faults.append(f"{name}: there is no such setting{meant}")


def _take_file(
    setting: Setting, place: str | None, name: str, environ: Mapping[str, str], sources: Sources
) -> None:
    if name.removesuffix("_FILE") in environ:
        sources.faults.append(f"{name} and {name.removesuffix('_FILE')} are both set: keep one.")
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
            sources.faults.append(readable_fault(name, Path(environ[name])))
        elif not text or len(text) >= SECRET_BYTES:
            sources.faults.append(f"{name}: {environ[name]} is empty or larger than {SECRET_BYTES} bytes.")
        else:
            _store(setting, place, _parts(setting, text), name, sources)


def _split_place(name: str) -> tuple[str | None, str]:
    """Split the index out of a site's variable: ``…__SITES__2__URL`` → 2 and ``…__SITES__<n>__URL``."""
    match = _SITE_VARIABLE.fullmatch(name)
    return (match[2], f"{match[1]}<n>{match[3]}") if match is not None else (None, name)


def _parts(setting: Setting, text: str) -> str | list[str]:
    """Read a list as words between blanks, commas or new lines."""
    return [part for part in re.split(r"[\s,]+", text) if part] if setting.many else text


def _store(setting: Setting, place: str | None, value: str | list[str], name: str, sources: Sources) -> None:
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


# ---- load ----


@dataclass(frozen=True, slots=True)
class Configuration:
    """Valid settings. *origins* maps a path to the variable of its value."""

    settings: Settings
    origins: Mapping[str, str]


def load(path: Path | None, environ: Mapping[str, str]) -> Configuration:
    """Read the settings from the file at *path* (None: no file) and from *environ*.

    Raises:
        ConfigError: With a sentence per fault.
    """
    sources = read_sources(path, environ)
    if sources.is_unread:
        raise ConfigError(sources.faults)
    try:
        settings = Settings.model_validate(
            sources.values, context=path.absolute().parent if path is not None else Path.cwd()
        )
    except ValidationError as error:
        raise ConfigError(
            [*sources.faults, *fault_sentences(error, sources.origins, sources.unread)]
        ) from None
    faults = [*sources.faults, *config_errors.rule_faults(settings)]
    if faults:
        raise ConfigError(faults)
    return Configuration(settings, sources.origins)


# ---- keys ----


_COUNTED: Final = re.compile(r"k(\d{1,6})")


def generate_secrets() -> SecretsSection:
    """Make the secrets of a single node without configured ones; they end with the process."""
    return SecretsSection(sealing_keys=(new_sealing_key(),), pseudonym_key=new_secret_key())


def new_secret_key() -> SecretKey:
    """Draw a key."""
    return SecretKey(secrets.token_bytes(KEY_BYTES))


def new_sealing_key(present: Sequence[SealingKey] = ()) -> SealingKey:
    """Draw a sealing key whose id is the next of k1, k2 and so on after those *present*."""
    return SealingKey(f"k{max(map(_number, present), default=0) + 1}", new_secret_key())


def newest_first(present: Sequence[SealingKey]) -> list[SealingKey]:
    """Return *present* with the newest one first: of k1, k2 and so on the one with the highest number."""
    newest = max(reversed(present), key=_number)
    return [newest, *(key for key in present if key is not newest)]


def write_block(sealing_keys: Sequence[SealingKey], pseudonym_key: SecretKey) -> str:
    """Return the ``[secrets]`` table that holds these keys, ready for a configuration file."""
    lines = ["[secrets]", "sealing_keys = ["]
    lines += [f'    "{key.id}:{_base64(key.key)}",' for key in sealing_keys]
    lines += ["]", f'pseudonym_key = "{_base64(pseudonym_key)}"', ""]
    return "\n".join(lines)


def write_lines(sealing_keys: Sequence[SealingKey]) -> str:
    """Return the content of a file for ``…SEALING_KEYS_FILE`` with these keys."""
    return "".join(f"{key.id}:{_base64(key.key)}\n" for key in sealing_keys)


def _number(key: SealingKey) -> int:
    """Return N of kN, 0 for any other id."""
    match = _COUNTED.fullmatch(key.id)
    return 0 if match is None else int(match[1])


def _base64(key: SecretKey) -> str:
    return base64.b64encode(key.raw).decode("ascii")


# ---- print ----


HEADINGS: Final = ("| key | value | default | meaning |", "|---|---|---|---|")
_PREFACE: Final = """\
# Configuration

`oscc-gateway check-config --reference` writes this page from the settings; a test compares both.

- One TOML file, `oscc-gateway serve --config gateway.toml`, and environment variables, which override it.
  [Operations](operations.md) has the smallest configuration.
- A variable is named `OSCC_GATEWAY__SECTION__KEY`; for the first site `OSCC_GATEWAY__SITES__0__KEY`.
  The dot of a key becomes two underscores: `OSCC_GATEWAY__SITES__0__REMOTE_NUMBERS__ALLOW`.
  In a list, blanks or commas separate the words. An empty variable counts as not set.
- Secrets may also come from files: `OSCC_GATEWAY__ADMIN__TOKEN_FILE` is a path. They are never shown.
  Such a file, and `client.key`, must not be readable by every user of the machine; its group may read it.
- A secret with the documentation's placeholder `…` counts as not set.
- Relative paths start at the folder of the configuration file.
- Unknown keys and misspelt variables are refused, with the nearest name that exists.
- `oscc-gateway check-config --config gateway.toml` shows the effective settings and tests the files and
  servers that they name; `--schema` prints their JSON Schema.
"""


def effective_toml(configuration: Configuration) -> str:
    """Return the settings in effect as TOML with their origins, without secrets."""
    lines: list[str] = []
    for name, value in configuration.settings:
        match value:
            case tuple():
                for place, item in enumerate(value):
                    lines += [f"[[{name}]]", *_lines("", f"{name}[{place}]", item, configuration.origins), ""]
            case BaseModel():
                lines += [f"[{name}]", *_lines("", name, value, configuration.origins), ""]
            case _:
                lines += [f"# [{name}] is not set", ""]
    return "\n".join(lines)


def json_schema() -> str:
    """Return the JSON Schema of the file."""
    return json.dumps(Settings.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def reference_page() -> str:
    """Return the page that explains every setting."""
    lines = [_PREFACE]
    for name, section in sections():
        title = f"[[{name}]]" if name == SITES else f"[{name}]"
        lines += [f"## {title}", "", section.__doc__ or "", ""]
        lines += HEADINGS
        lines += [setting_row(setting) for setting in SETTINGS if setting.section == name]
        lines.append("")
    return "\n".join(lines)


# ---- effective ----


def _lines(inside: str, path: str, table: BaseModel, origins: Mapping[str, str]) -> Iterator[str]:
    """Yield a line per setting; *inside* is the prefix of the keys of an inner table."""
    shown = table.model_dump(mode="json")
    for key, value in table:
        if value is None:
            yield f"# {inside}{key} is not set"
            continue
        if isinstance(value, BaseModel):
            yield from _lines(f"{inside}{key}.", f"{path}.{key}", value, origins)
            continue
        text = f"{inside}{key} = {_toml(HIDDEN if isinstance(value, SecretStr) else shown[key])}"
        origin = origins.get(f"{path}.{key}")
        if origin is None and key not in table.model_fields_set:
            origin = "default"
        yield f"{text}  # {origin}" if origin is not None else text


def _toml(value: object) -> str:
    match value:
        case list():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case dict():
            pairs = (f"{json.dumps(key, ensure_ascii=False)} = {_toml(item)}" for key, item in value.items())
            return f"{{{', '.join(pairs)}}}"
        case _:
            return json.dumps(value, ensure_ascii=False)


# ---- reference ----


def setting_row(setting: Setting) -> str:
    """Return a setting's line of a table: key, value, default, meaning."""
    field = setting.field
    cells = (
        f"`{setting.key}`",
        _kind(setting),
        _default(field),
        (field.description or "").replace("|", "\\|"),
    )
    return f"| {' | '.join(cells)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    match field.get_default(call_default_factory=True):
        case None | () | "" | {}:
            return "none"
        case bool() as value:
            return f"`{str(value).lower()}`"
        case tuple() as values:
            return ", ".join(f"`{value}`" for value in values)
        case value:
            return f"`{value}`"


def _kind(setting: Setting) -> str:
    annotation, metadata = _inner(setting.field)
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{word}`" for word in typing.get_args(annotation))
    if typing.get_origin(annotation) is dict:
        return "table of whole numbers"
    kind = "secret" if setting.secret else _WORDS.get(annotation, "text")
    return " ".join(part for part in (f"{kind}s" if setting.many else kind, _bounds(metadata)) if part)


_WORDS: Final[dict[object, str]] = {bool: "true or false", int: "whole number", float: "number", Path: "path"}


def _inner(field: FieldInfo) -> tuple[object, list[object]]:
    annotation, metadata = field.annotation, list(field.metadata)
    while True:
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            annotation = arguments[0]
            metadata += arguments[1:]
        elif origin in {types.UnionType, typing.Union} or (origin is tuple and arguments):
            annotation = arguments[0]
        else:
            return annotation, metadata


def _bounds(metadata: list[object]) -> str:
    low = high = ""
    for bound in metadata:
        match bound:
            case Ge():
                low = f"{bound.ge}"
            case Gt():
                low = f"more than {bound.gt}"
            case Le():
                high = f"{bound.le}"
            case _:
                continue
    return f"{low} … {high}" if low and high else low or high
