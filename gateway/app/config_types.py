"""Which kinds of values may a setting have, and what is wrong with one that it may not?

Each validator raises ValueError with the end of a sentence that begins with the setting's
name. No message repeats a value that may be secret.
"""

from __future__ import annotations

import difflib
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import phonenumbers
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)

from gateway.app.config_bus_url import HIDDEN, bus_url, without_password
from gateway.app.keys import SealingKey, SecretKey, parse_sealing_key, parse_secret_key

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_NODE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SITE_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_NUMBER_PREFIX: Final = re.compile(r"\+[1-9][0-9]{0,14}")
_APP_MINIMUM: Final = re.compile(r"[a-z]{1,32}=\d{1,6}(\.\d{1,6}){0,3}")
_SECRET: Final = {"type": "string", "writeOnly": True}
_SOCKET: Final = "unix:"


def socket_path(host: str) -> Path | None:
    """Return where the socket is that a host such as ``unix:/run/admin.sock`` names; None for addresses."""
    path = Path(host.removeprefix(_SOCKET))
    return path if host.startswith(_SOCKET) and path.is_absolute() else None


def _path(path: Path, info: ValidationInfo) -> Path:
    folder = info.context
    return folder / path if isinstance(folder, Path) and not path.is_absolute() else path


def _secret_key(value: object) -> SecretKey:
    if isinstance(value, SecretKey):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004 - pydantic collects ValueError only
    return parse_secret_key(value)


def _sealing_key(value: object) -> SealingKey:
    if isinstance(value, SealingKey):
        return value
    if not isinstance(value, str):
        raise ValueError("must be a text")  # noqa: TRY004 - pydantic collects ValueError only
    return parse_sealing_key(value)


def _network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value))
    except ValueError:
        raise ValueError("must be an address or a network such as 10.0.0.0/8") from None


def _origin(text: str) -> str:
    parts = urlsplit(text)
    bare = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in text or bare != text.lower():
        raise ValueError("must be an origin such as https://phones.example, in lower case and without a path")
    return text


def _site_id(text: str) -> str:
    if _SITE_ID.fullmatch(text) is None:
        raise ValueError("must be 1 to 32 lower-case letters, digits or hyphens")
    return text


def _site_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https", "ami", "amis"} or not parts.hostname:
        raise ValueError("must be an address such as https://oscce.example or ami://127.0.0.1:5038")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must have no user, password, query or fragment")
    return text.rstrip("/")


def _page_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("must be an https:// address")
    return text


def _country(text: str) -> str:
    if text not in phonenumbers.SUPPORTED_REGIONS:
        near = difflib.get_close_matches(text.upper(), phonenumbers.SUPPORTED_REGIONS, n=1, cutoff=0.9)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"must be a country of two capital letters such as DE{hint}")
    return text


def _number_prefix(text: str) -> str:
    if _NUMBER_PREFIX.fullmatch(text) is None:
        raise ValueError("must be a number in E.164 or the beginning of one, such as +4331, without spaces")
    return text


def _app_minimum(text: str) -> str:
    if _APP_MINIMUM.fullmatch(text) is None:
        raise ValueError("must be a platform and a version, as in android=1.2.0")
    return text


def _node_name(text: str) -> str:
    if _NODE_NAME.fullmatch(text) is None:
        raise ValueError("must be 1 to 64 letters, digits, dots, hyphens or underscores")
    return text


def _wrap_up_times(value: object) -> object:
    """Read ``queue=seconds`` words, as the environment has them; a table of the file stays as it is."""
    if not isinstance(value, list | tuple | str):
        return value
    words = value.split() if isinstance(value, str) else value
    return dict(str(word).rpartition("=")[::2] for word in words)


Port = Annotated[int, Field(ge=0, le=65_535)]
"""A TCP port; 0 is any free one."""
Host = Annotated[str, Field(min_length=1, max_length=255)]
File = Annotated[Path, AfterValidator(_path)]
"""A path; a relative one counts from the folder of the configuration file."""
Password = Annotated[SecretStr, Field(min_length=1, max_length=4096, json_schema_extra={"writeOnly": True})]
SecretKeyText = Annotated[
    SecretKey, PlainValidator(_secret_key), PlainSerializer(lambda _: HIDDEN), WithJsonSchema(_SECRET)
]
SealingKeyText = Annotated[
    SealingKey,
    PlainValidator(_sealing_key),
    PlainSerializer(lambda key: f"{key.id}:{HIDDEN}"),
    WithJsonSchema(_SECRET),
]
Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(_network),
    PlainSerializer(str),
    WithJsonSchema({"type": "string"}),
]
Reason = Annotated[str, Field(min_length=1, max_length=79, pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A reason of an agent's state; Asterisk keeps 79 bytes."""
WrapUpTimes = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=128)], Annotated[int, Field(ge=0, le=3600)]],
    BeforeValidator(_wrap_up_times),
]
Origin = Annotated[str, AfterValidator(_origin)]
SiteName = Annotated[str, AfterValidator(_site_id)]
SiteUrl = Annotated[str, AfterValidator(_site_url)]
PageUrl = Annotated[str, AfterValidator(_page_url)]
AppMinimum = Annotated[str, AfterValidator(_app_minimum)]
NumberPrefix = Annotated[str, AfterValidator(_number_prefix)]
Country = Annotated[str, AfterValidator(_country)]
NodeName = Annotated[str, AfterValidator(_node_name)]
BusUrl = Annotated[str, AfterValidator(bus_url), PlainSerializer(without_password)]
