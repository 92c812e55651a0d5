"""Configuration faults: the names of all settings, rules between settings, and one sentence per fault.

No sentence contains a secret.
"""

from __future__ import annotations

import difflib
import typing
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gateway.app.config.settings import (
    LOOPBACK,
    MEMORY,
    SECRET_TYPES,
    AdminSection,
    BusSection,
    ClientSection,
    OpsSection,
    Settings,
    SiteSection,
    socket_path,
)
from gateway.bus import BusAddress, RedisCredentials, parse_url
from gateway.domain.model import Application

PREFIX: Final = "OSCC_GATEWAY"
SITES: Final = "sites"


class Setting(NamedTuple):
    """One setting.

    In the names of a site's settings ``<n>`` stands for the index of the site, counted from 0.

    *key*: with the name of an inner table before it, as in ``remote_numbers.allow``.
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
        return _is_secret(self.field.annotation)

    @property
    def from_file(self) -> bool:
        """Whether ``<variable>_FILE`` may name a file with its value.

        A bus's address may contain a password.
        """
        return self.secret or (self.section, self.key) == ("bus", "url")

    @property
    def many(self) -> bool:
        """Whether it is a list, or a table that the environment writes as one."""
        return typing.get_origin(self.field.annotation) in {tuple, dict}


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield each table's name and class, in the order of the reference page."""
    for name, field in Settings.model_fields.items():
        section = _table(field.annotation)
        if section is not None:
            yield name, section


def _fields(table: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for key, field in table.model_fields.items():
        inner = _table(field.annotation)
        if inner is None:
            yield key, field
        else:
            yield from ((f"{key}.{inner_key}", inner_field) for inner_key, inner_field in _fields(inner))


def _is_secret(annotation: object) -> bool:
    """Return whether values of a type contain a secret."""
    is_one = isinstance(annotation, type) and issubclass(annotation, SECRET_TYPES)
    return is_one or any(map(_is_secret, typing.get_args(annotation)))


def _table(annotation: object) -> type[BaseModel] | None:
    """Return the table class of a setting; None for a plain value."""
    for one in (annotation, *typing.get_args(annotation)):
        if isinstance(one, type) and issubclass(one, BaseModel):
            return one
    return None


SETTINGS: Final = tuple(
    Setting(name, key, field) for name, section in sections() for key, field in _fields(section)
)
BY_VARIABLE: Final = {setting.variable: setting for setting in SETTINGS}


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the most similar name in *known*, if one is similar enough."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return found[0] if found else None


def did_you_mean(name: str | None) -> str:
    """Return the end of a sentence about an unknown name: *name* is the one that may be meant."""
    return "." if name is None else f"; did you mean {name}?"


# ---- sentences ----


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
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_parsing", "float_type", "finite_number"), "must be a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
    "string_type": "must be a text",
    "path_type": "must be a path",
    "tuple_type": "must be a list, in square brackets",
    **dict.fromkeys(("model_type", "model_attributes_type"), "must be a table"),
    **dict.fromkeys(("enum", "literal_error"), "must be {expected}"),
    "missing": "is missing",
    "extra_forbidden": "is unknown",
    **dict.fromkeys(
        ("timezone_aware", "datetime_type"),
        "must be an instant with its offset, as in 2026-01-31T08:00:00Z",
    ),
    "value_error": "{error}",
}
"""pydantic's type of error → the end of a sentence that begins with the setting's name."""


class ConfigError(Exception):
    """The configuration cannot be used.

    Args:
        faults: One sentence per fault, without secrets.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class SettingLocation(NamedTuple):
    """A place in the configuration."""

    section: str
    site: int | None
    key: str | None
    item: int | None

    @classmethod
    def of(cls, location: Sequence[int | str]) -> SettingLocation:
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
        """The setting at this place, if there is one."""
        return next((s for s in SETTINGS if (s.section, s.key) == (self.section, self.key)), None)


def fault_sentences(
    error: ValidationError, origins: Mapping[str, str], unread: Collection[str] = ()
) -> list[str]:
    """Return a sentence for each fault that pydantic found; *origins* and *unread* as in :class:`Sources`."""
    found = error.errors(include_url=False)
    inner = {fault["loc"][:depth] for fault in found for depth in range(len(fault["loc"]))}
    return [
        _sentence(fault, origins)
        for fault in found
        if (fault["type"] != "too_short" or fault["loc"] not in inner)
        and (fault["type"] != "missing" or SettingLocation.of(fault["loc"]).path not in unread)
    ]


def _sentence(found: ErrorDetails, origins: Mapping[str, str]) -> str:
    place = SettingLocation.of(found["loc"])
    setting = place.setting
    match found["type"]:
        case "extra_forbidden":
            return unknown_setting(place)
        case "tuple_type" if place.path == SITES:
            return "sites must be a list: write [[sites]], with two brackets on each side."
        case "missing" if setting is not None:
            why = setting.field.description or ""
            is_abbreviation = why[1:2].isupper()  # as in TOML
            return f"{place.path} is missing: {why if is_abbreviation else why[:1].lower() + why[1:]}"
        case "missing":
            return "No site is configured: add a [[sites]] with id, url, display_name and country."
        case _:
            item = "" if place.item is None else f" (value {place.item + 1})"
            sentence = f"{origins.get(place.path, place.path)}{item} {fault_ending(found)}"
            return sentence if sentence.endswith("?") else f"{sentence}."


def fault_ending(found: ErrorDetails) -> str:
    """Return the fault of a value, as the end of a sentence that begins with its name."""
    kind = found["type"]
    context = {name: f"{v:g}" if isinstance(v, float) else v for name, v in found.get("ctx", {}).items()}
    ending = _ENDINGS.get(kind, kind.replace("_", " ")).format(**context)
    return _shown_value(found) + ("must not be empty" if context.get("min_length") == 1 else ending)


def unknown_setting(place: SettingLocation) -> str:
    """Return the sentence for an unknown name in the file, with the most similar known name."""
    if place.key is None:
        near = nearest(place.section, _SECTIONS)
        return f"[{place.table}]: there is no such section{did_you_mean(near)}"
    keys = [setting.key for setting in SETTINGS if setting.section == place.section]
    near = nearest(place.key, {name for key in keys for name in (key, key.partition(".")[0])})
    if near is not None:
        meant: str | None = f"{place.table}.{near}"
    else:
        elsewhere = (setting.path for setting in SETTINGS if setting.key.rpartition(".")[2] == place.key)
        meant = next(elsewhere, None)
    return f"{place.path}: there is no such setting{did_you_mean(meant)}"


def _shown_value(found: ErrorDetails) -> str:
    """Return a value where it helps and cannot be a secret: out of bounds, or not in a list of words."""
    value = found["input"]
    if (
        found["type"] in _TELLING
        and isinstance(value, int | float | str)
        and len(str(value)) <= _SHOWN_CHARACTERS
    ):
        return f"is {value}, but "
    return ""


# ---- rules between settings ----


ADMIN_TOKEN_CHARACTERS: Final = 16
"""Shorter tokens could be guessed."""


def rule_faults(settings: Settings) -> Iterator[str]:
    """Yield the faults of combinations of settings that are each within their bounds."""
    yield from _transport_faults(settings)
    yield from _bus_faults(settings)
    yield from _key_faults(settings)
    yield from _listener_faults(settings)
    yield from _admin_token_faults(settings)
    seen = Counter(site.id for site in settings.sites)
    for site_id, times in seen.items():
        if times > 1:
            yield f"{times} sites have the id {site_id}: an id names one site."
    for place, site in enumerate(settings.sites):
        yield from _site_faults(place, site)


def _transport_faults(settings: Settings) -> Iterator[str]:
    client = settings.client
    if (client.certificate is None) != (client.key is None):
        there, missing = ("certificate", "key") if client.key is None else ("key", "certificate")
        yield f"client.{there} is set without client.{missing}: TLS needs both."
    elif client.certificate is None and not client.insecure and not client.trusted_proxies:
        yield (
            "The client listener would accept clear text: set client.certificate and client.key, name the "
            "proxy that ends TLS in client.trusted_proxies, or accept it with client.insecure = true."
        )
    if client.certificate is not None and client.insecure:
        yield "client.insecure and client.certificate contradict each other: keep one."


def _bus_faults(settings: Settings) -> Iterator[str]:
    bus = settings.bus
    where = None if bus.url == MEMORY else parse_url(bus.url)
    if bus.ca_file is not None and (where is None or not where.tls):
        yield "bus.ca_file is set, but bus.url is not rediss://, rediss+sentinel:// or rediss+cluster://."
    elif bus.ca_file is not None and where is not None and where.ca_file is not None:
        yield "bus.ca_file and the ca_file of bus.url are both set: keep one."
    yield from _bus_login_faults(bus, where)
    if bus.url != MEMORY and settings.secrets is None:
        yield (
            "[secrets] is missing: only a single node on memory:// makes its own; "
            "make them once with `oscc-gateway keys` and give them to all nodes."
        )


def _bus_login_faults(bus: BusSection, where: BusAddress | None) -> Iterator[str]:
    """Yield contradictions between the log-ins in bus.url and those beside it."""
    logins = (("", bus.user, bus.password), ("sentinel_", bus.sentinel_user, bus.sentinel_password))
    for start, user, password in logins:
        if user is not None and password is None:
            yield f"bus.{start}user is set without bus.{start}password."
        if password is not None and where is None:
            yield f"bus.{start}password is set, but bus.url is memory://, which takes none."
    if where is None:
        return
    if bus.password is not None and where.credentials != RedisCredentials():
        yield "bus.password is set, and bus.url has a password, too: keep one."
    if bus.sentinel_password is not None and where.service is None:
        yield "bus.sentinel_password is set, but bus.url is not redis+sentinel:// or rediss+sentinel://."
    elif bus.sentinel_password is not None and where.sentinel_credentials != RedisCredentials():
        yield "bus.sentinel_password is set, and bus.url has a log-in of the Sentinels, too: keep one."


def _listener_faults(settings: Settings) -> Iterator[str]:
    socket = socket_path(settings.admin.host)
    if settings.admin.host not in LOOPBACK and socket is None:
        yield (
            "admin.host must be 127.0.0.1, ::1, localhost or unix:/path: "
            "operators come from this machine only."
        )
    named: list[tuple[str, ClientSection | OpsSection | AdminSection]] = [
        ("client", settings.client),
        ("ops", settings.ops),
    ]
    if socket is None:
        named.append(("admin", settings.admin))
    ports: dict[int, str] = {}
    for name, listener in named:
        if listener.port in ports:
            yield f"{name}.port is {listener.port}, which {ports[listener.port]}.port is already."
        elif listener.port != 0:
            ports[listener.port] = name


def _admin_token_faults(settings: Settings) -> Iterator[str]:
    token = settings.admin.token
    if token is not None and len(token.get_secret_value()) < ADMIN_TOKEN_CHARACTERS:
        yield (
            f"admin.token has fewer than {ADMIN_TOKEN_CHARACTERS} characters: it could be guessed. Make one "
            "with `openssl rand -hex 24`."
        )


def _site_faults(place: int, site: SiteSection) -> Iterator[str]:
    if Application.REMOTE_ASSISTANT in site.applications and site.country is None:
        yield (
            f"sites[{place}].country is missing: site {site.id} offers the Remote Assistant, whose numbers "
            'are checked against the site\'s country; name it, or set applications = ["dashboard"].'
        )
    parts = urlsplit(site.url)
    if (is_ami := parts.scheme in {"ami", "amis"}) and site.asterisk is None:
        yield f"sites[{place}].url is an Asterisk's, but site {site.id} has no table [sites.asterisk]."
    elif site.asterisk is not None and not is_ami:
        yield f"sites[{place}] has a table [sites.asterisk], so its url must be ami:// or amis://."
        return  # what follows would name another scheme
    if parts.scheme not in {"http", "ami"}:
        return
    if parts.hostname not in LOOPBACK and not site.insecure:
        yield (
            f"sites[{place}].url is clear text to another machine: use {parts.scheme}s://, "
            f"or accept it with insecure = true for site {site.id}."
        )
    if site.ca_file is not None:
        yield f"sites[{place}].ca_file is set, but sites[{place}].url is not {parts.scheme}s://."


def _key_faults(settings: Settings) -> Iterator[str]:
    keys = settings.secrets.sealing_keys if settings.secrets is not None else ()
    for key_id, times in Counter(key.id for key in keys).items():
        if times > 1:
            yield f"{times} keys of secrets.sealing_keys have the id {key_id}: an id names one key."
