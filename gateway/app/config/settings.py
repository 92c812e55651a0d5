"""Settings: every table and key with its type, unit, bounds, default and reason.

Each setting is declared once. The environment names, the reference page, the JSON Schema and the redaction
are derived from it. Rules that join several settings are in :mod:`gateway.app.config.errors`.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

import phonenumbers
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
)

from gateway.bus import parse_url
from gateway.core.rate_limits import SessionLimits
from gateway.domain.model import Application
from gateway.edge.request_context import AdmissionLimits

MEMORY: Final = "memory://"
REASON_BYTES: Final = 79
SCHEMES: Final = (
    *("memory", "redis", "rediss", "redis+sentinel", "rediss+sentinel"),
    *("redis+cluster", "rediss+cluster"),
)
HIDDEN: Final = "********"


_WHO: Final = re.compile(r"(?<=://).*@", re.DOTALL)
_SENTINELS_WHO: Final = re.compile(r"(?<=[?&])(sentinel_(?:user|password)=)[^&]*")


def bus_url(text: str) -> str:
    """Return *text* when it is the address of a bus.

    Raises:
        ValueError: With the end of a sentence that begins with the setting's name. It never quotes the
            address, which may contain a password.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=1)
        hint = f"; did you mean {near[0]}://?" if near else ""
        raise ValueError(
            f"must begin with memory://, redis://, rediss://, redis+sentinel:// or redis+cluster://{hint}"
        )
    if scheme == "memory":
        if rest:
            raise ValueError("must be memory:// and nothing behind it")
        return text
    try:
        parse_url(text)
    except ValueError as fault:
        raise ValueError(f"cannot be used: {fault}") from None
    return text


def without_password(url: str) -> str:
    """Return *url* with users and passwords hidden."""
    return _SENTINELS_WHO.sub(rf"\1{HIDDEN}", _WHO.sub(f"{HIDDEN}@", url))


# ---- keys ----


KEY_BYTES: Final = 32
_ID: Final = re.compile(r"[a-z0-9]{1,16}")
_CHECK_LABEL: Final = b"check value of a sealing key"
_CHECK_CHARACTERS: Final = 8
"""32 bits: too few to reveal anything about 256 random ones."""
_MAKE_ONE: Final = "make one with `oscc-gateway keys`"


@dataclass(frozen=True, slots=True, repr=False)
class SecretKey:
    """32 secret bytes. Its repr and str show nothing."""

    raw: bytes

    def __repr__(self) -> str:
        return "SecretKey(…)"


@dataclass(frozen=True, slots=True, repr=False)
class SealingKey:
    """A key that seals and opens tokens. Its repr and str show its id only."""

    id: str
    key: SecretKey

    @property
    def name(self) -> str:
        """Its id and a check value, which distinguishes two keys of one id; may be shown."""
        check = hashlib.sha256(_CHECK_LABEL + self.key.raw).hexdigest()
        return f"{self.id}/{check[:_CHECK_CHARACTERS]}"

    def __repr__(self) -> str:
        return f"SealingKey({self.id}:…)"


def parse_secret_key(text: str) -> SecretKey:
    """Read a key from its base64 form.

    Raises:
        ValueError: It is none. The message never repeats it.
    """
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"is not base64: {_MAKE_ONE}") from None
    if len(raw) != KEY_BYTES:
        raise ValueError(f"has {len(raw)} bytes, but must have {KEY_BYTES}: {_MAKE_ONE}")
    return SecretKey(raw)


def parse_sealing_key(text: str) -> SealingKey:
    """Read a sealing key: an id of lower-case letters and digits, a colon, base64.

    Raises:
        ValueError: It is none. The message never repeats it.
    """
    key_id, colon, key = text.strip().partition(":")
    if not colon or _ID.fullmatch(key_id) is None:
        raise ValueError(f"must be an id, a colon and base64, as in `k1:…`: {_MAKE_ONE}")
    return SealingKey(key_id, parse_secret_key(key))


# ---- types of values ----


LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_TWO_CAPITALS: Final = re.compile(r"[A-Z]{2}")
_MISTAKEN_COUNTRIES: Final = {"UK": "GB", "EN": "GB", "GER": "DE", "AUT": "AT", "SUI": "CH", "USA": "US"}
_SECRET: Final = {"type": "string", "writeOnly": True}
_SOCKET: Final = "unix:"


def socket_path(host: str) -> Path | None:
    """Return the path of the socket in a host such as ``unix:/run/admin.sock``; None for addresses."""
    path = Path(host.removeprefix(_SOCKET))
    return path if host.startswith(_SOCKET) and path.is_absolute() else None


def _path(path: Path, info: ValidationInfo) -> Path:
    folder = info.context
    return folder / path if isinstance(folder, Path) and not path.is_absolute() else path


SecretT = TypeVar("SecretT", SecretKey, SealingKey)


def _parsed(kind: type[SecretT], parse: Callable[[str], SecretT]) -> PlainValidator:
    """Return the reader of a secret's text, whose error has no text of the value."""

    def read(value: object) -> SecretT:
        if isinstance(value, kind):
            return value
        if not isinstance(value, str):
            raise ValueError("must be a text")  # noqa: TRY004 - pydantic collects ValueError only
        return parse(value)

    return PlainValidator(read)


def _network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(str(value))
    except ValueError:
        pass
    try:
        meant = ip_interface(str(value))
    except ValueError:
        raise ValueError("must be an address or a network such as 10.20.30.0/28") from None
    raise ValueError(f"must be the network {meant.network} or the address {meant.ip}, not both in one")


def _origin(text: str) -> str:
    parts = urlsplit(text)
    bare = f"{parts.scheme}://{parts.netloc}"
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in text or bare != text.lower():
        raise ValueError("must be an origin such as https://phones.example, in lower case and without a path")
    return text


def _fits(pattern: str, fault: str) -> AfterValidator:
    """Return the check that a whole text has the form of *pattern*."""
    fits = re.compile(pattern).fullmatch

    def check(text: str) -> str:
        if fits(text) is None:
            raise ValueError(fault)
        return text

    return AfterValidator(check)


def _site_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https", "ami", "amis"} or not parts.hostname:
        raise ValueError("must be an address such as https://oscce.example or ami://127.0.0.1:5038")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must have no user, password, query or fragment")
    return text.rstrip("/")


def _collector_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address such as https://otel.example/v1/traces")
    return _site_url(text)


def _page_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError("must be an https:// address")
    return text


def _country(text: str) -> str:
    if text not in phonenumbers.SUPPORTED_REGIONS:
        letters = _MISTAKEN_COUNTRIES.get(text.upper(), text.upper())
        known = letters in phonenumbers.SUPPORTED_REGIONS
        hint = f"; did you mean {letters}?" if known else ""
        if _TWO_CAPITALS.fullmatch(text) and not known:
            raise ValueError(f"must be a country of ISO 3166 with telephones such as DE: {text} is none")
        raise ValueError(f"must be a country of two capital letters such as DE{hint}")
    return text


def _reason(text: str) -> str:
    if len(text.encode()) > REASON_BYTES:
        raise ValueError(f"has more than {REASON_BYTES} bytes in UTF-8, which Asterisk would cut")
    return text


def _wrap_up_times(value: object) -> object:
    """Read ``queue=seconds`` words, as in the environment; a table of the file is returned unchanged."""
    if not isinstance(value, list | tuple | str):
        return value
    words = value.split() if isinstance(value, str) else value
    return dict(str(word).rpartition("=")[::2] for word in words)


Many = Annotated[int, Field(ge=1, le=1_000_000)]
PerSecond = Annotated[float, Field(gt=0, le=100_000)]
Port = Annotated[int, Field(ge=0, le=65_535)]
"""A TCP port; 0 is any free one."""
Host = Annotated[str, Field(min_length=1, max_length=255)]
File = Annotated[Path, AfterValidator(_path)]
"""A path; a relative one counts from the folder of the configuration file."""
SECRET_TYPES: Final = (SecretStr, SecretKey, SealingKey)
"""Types of values that are never shown."""
Password = Annotated[SecretStr, Field(min_length=1, max_length=4096, json_schema_extra={"writeOnly": True})]
SecretKeyText = Annotated[
    SecretKey,
    _parsed(SecretKey, parse_secret_key),
    PlainSerializer(lambda _: HIDDEN),
    WithJsonSchema(_SECRET),
]
SealingKeyText = Annotated[
    SealingKey,
    _parsed(SealingKey, parse_sealing_key),
    PlainSerializer(lambda key: f"{key.id}:{HIDDEN}"),
    WithJsonSchema(_SECRET),
]
Network = Annotated[
    IPv4Network | IPv6Network,
    PlainValidator(_network),
    PlainSerializer(str),
    WithJsonSchema({"type": "string"}),
]
ReasonText = Annotated[
    str, Field(min_length=1, max_length=79, pattern=r"^[^\x00-\x1f\x7f]+$"), AfterValidator(_reason)
]
"""A reason of an agent's state; Asterisk keeps 79 bytes."""
WrapUpTimes = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=128)], Annotated[int, Field(ge=0, le=3600)]],
    BeforeValidator(_wrap_up_times),
]
Origin = Annotated[str, AfterValidator(_origin)]
SiteName = Annotated[
    str, _fits(r"[a-z0-9][a-z0-9-]{0,31}", "must be 1 to 32 lower-case letters, digits or hyphens")
]
SiteUrl = Annotated[str, AfterValidator(_site_url)]
CollectorUrl = Annotated[str, AfterValidator(_collector_url)]
PageUrl = Annotated[str, AfterValidator(_page_url)]
AppMinimum = Annotated[
    str,
    _fits(r"[a-z]{1,32}=\d{1,6}(\.\d{1,6}){0,3}", "must be a platform and a version, as in android=1.2.0"),
]
NumberPrefix = Annotated[
    str,
    _fits(
        r"\+[1-9][0-9]{0,14}",
        "must be a number in E.164 or the beginning of one, such as +4331, without spaces",
    ),
]
Country = Annotated[str, AfterValidator(_country)]
NodeName = Annotated[
    str,
    _fits(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "must be 1 to 64 letters, digits, dots, hyphens or underscores"
    ),
]
BusUrl = Annotated[str, AfterValidator(bus_url), PlainSerializer(without_password)]

# ---- sections ----


_SESSION = SessionLimits()
_ADMISSION = AdmissionLimits()


class Section(BaseModel):
    """A table of the file. Immutable; an unknown key is a fault; errors never show a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ClientSection(Section):
    """The listener for phones."""

    host: Host = Field(
        "127.0.0.1", description="The address to listen on. By default other machines cannot reach it."
    )
    port: Port = Field(8080, description="The port to listen on; 0 takes any free one.")
    certificate: File | None = Field(
        None, description="PEM file of the certificate and its chain. With it the listener uses TLS."
    )
    key: File | None = Field(None, description="PEM file of its private key, without a password.")
    insecure: bool = Field(
        False,
        description="Allow clear text without a trusted proxy, for tests: passwords and tokens are "
        "sent without encryption. `GET /v1/about` shows it to clients.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (),
        max_length=64,
        description="Networks of the proxies that end TLS. Their `X-Forwarded-For` is trusted. Clear text is "
        "accepted from them when their `X-Forwarded-Proto` is `https`, `wss` or absent. List proxies only, "
        "not a network with other machines.",
    )
    origins: tuple[Origin, ...] = Field(
        (),
        max_length=64,
        description="Web origins whose pages may connect, as browsers send them. Default: the same "
        "host only.",
    )
    app_minimum: tuple[AppMinimum, ...] = Field(
        (), max_length=16, description="Oldest app that may log on, per platform, as in `android=1.2.0`."
    )
    compress: bool = Field(
        True,
        description="Whether frames of state of 4 KiB and more are compressed for phones that offer "
        "`permessage-deflate` (RFC 7692): a first state is 8 to 12 times smaller, for 4 to 9 µs of CPU a KB.",
    )


class OpsSection(Section):
    """The listener for health and metrics. It holds no personal data and asks for no password."""

    host: Host = Field("127.0.0.1", description="The address to listen on. Keep it in the internal network.")
    port: Port = Field(9090, description="The port to listen on; 0 takes any free one.")


class AdminSection(Section):
    """The listener for operators: see [its page](admin.md)."""

    host: Host = Field(
        "127.0.0.1",
        description="The address to listen on, on the loopback interface only; or `unix:/run/…/admin.sock`, "
        "a socket that only the node's own user may open.",
    )
    port: Port = Field(9091, description="The port to listen on; 0 takes any free one. A socket has none.")
    token: Password | None = Field(
        None,
        description="The bearer token of operators, at least 16 characters. Without it the listener stays "
        "closed.",
    )
    bundle_folder: File | None = Field(
        None,
        description="The folder for support bundles of operators. Without it they can only be previewed.",
    )


class NodeSection(Section):
    """The identity of this node."""

    name: NodeName | None = Field(
        None,
        description="The node's name for other nodes, logs and `oscc-gateway nodes`; no two live "
        "nodes may share "
        "it. Default: the host's name and the client listener's port, or a random word where that is 0.",
    )


class BusSection(Section):
    """How the nodes of one gateway reach each other. It is the same on all of them."""

    url: BusUrl = Field(
        MEMORY,
        description="`memory://` for one node: nothing leaves the process. The Redis that several nodes "
        "share: `redis://user:password@host:6379`. Behind Sentinels: "
        "`redis+sentinel://user:password@host,host,host/service?sentinel_password=…`. A Redis Cluster, by "
        "some of its nodes: `redis+cluster://user:password@host,host,host`. Over TLS: `rediss://…`, "
        "`rediss+sentinel://…`, `rediss+cluster://…`. In users and passwords, percent-encode everything but "
        "letters and digits.",
    )
    user: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        None, description="The user of Redis, beside `password`; none: its default user."
    )
    password: Password | None = Field(
        None,
        description="The password of Redis as it is, without percent-encoding, where `url` has none: "
        "`redis://host:6379`. So it may come from a Secret of its own.",
    )
    sentinel_user: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        None, description="The user of the Sentinels, beside `sentinel_password`; none: their default user."
    )
    sentinel_password: Password | None = Field(
        None, description="The password of the Sentinels as it is, where `url` has none."
    )
    ca_file: File | None = Field(
        None,
        description="PEM file of the authority behind Redis' certificate, for `rediss://`, "
        "`rediss+sentinel://` and `rediss+cluster://`. Default: the system's authorities.",
    )
    required_at_start: bool = Field(
        True,
        description="Whether a node is ready (`/readyz`) only after it has reached its Redis: a node with a "
        "wrong address or password gets no phones. A node that was ready stays ready while its "
        "Redis is away.",
    )


class SecretsSection(Section):
    """Keys made by `oscc-gateway keys`, the same on all nodes."""

    sealing_keys: tuple[SealingKeyText, ...] = Field(
        min_length=1,
        max_length=8,
        description="Keys of session tokens and of messages between nodes, each an id, a colon and 32 bytes "
        "in base64. The first key seals, all keys open: so a new key can be put first while old tokens are "
        "still valid.",
    )
    pseudonym_key: SecretKeyText = Field(
        description="32 bytes in base64: key of the hashes that stand for users in Redis and logs. Never "
        "rotate it, so that hashes stay comparable."
    )


class RemoteNumbersSection(Section):
    """Telephone numbers that a site routes calls to; never emergency or premium-rate numbers."""

    allow: tuple[NumberPrefix, ...] = Field(
        (),
        max_length=256,
        description="Prefixes in E.164, such as `+4331`, of numbers that are allowed beside those of "
        "the country.",
    )
    deny: tuple[NumberPrefix, ...] = Field(
        (),
        max_length=256,
        description="Prefixes of numbers that are refused, even if they are allowed elsewhere.",
    )
    own: tuple[NumberPrefix, ...] = Field(
        (),
        max_length=256,
        description="Numbers of the contact centre itself, or their prefixes: a call must not come "
        "back to it.",
    )


class AsteriskSection(Section):
    """A site that is an Asterisk; its `url` is `ami://host:5038`, or `amis://host:5039` with TLS."""

    user: str = Field(min_length=1, max_length=128, description="The AMI account of manager.conf.")
    secret: Password = Field(description="The account's secret.")
    people_file: File = Field(
        description="TOML file of the people who may log on, read again when it changes; `oscc-gateway "
        "person` makes an entry."
    )
    remote_context: str = Field(
        "oscc-remote",
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="The context of the dialplan that rings remote agents.",
    )
    begin_reason: ReasonText = Field(
        "Logged on", description="The reason of the pause in which a remote agent begins after the log-on."
    )
    unavailable_reasons: tuple[ReasonText, ...] = Field(
        (),
        max_length=100,
        description="Reasons to be unavailable that phones offer, beside those found in Asterisk.",
    )
    work_reasons: tuple[ReasonText, ...] = Field(
        (), max_length=100, description="Reasons that mean work. Without one the state is not offered."
    )
    wrap_up_s: WrapUpTimes = Field(
        default_factory=dict,
        max_length=1_000,
        description="Queue and seconds: the `wrapuptime` of queues.conf, which AMI does not report; remote "
        "agents join with it.",
    )
    wrap_up: Literal["fixed", "rejoin"] = Field(
        "fixed",
        description="Whether agents may change their own wrap-up time: `rejoin` removes them from their "
        "queues and adds them again, which resets their figures and their place in `rrmemory`.",
    )
    shared_last_call: bool = Field(
        True,
        description="Whether queues.conf has `shared_lastcall = yes`. Without it agents' counts are unknown.",
    )
    penalty_max: int = Field(10, ge=1, le=100, description="The penalty that is skill level 0.")
    look_s: float = Field(
        30.0,
        ge=5,
        le=600,
        description="Seconds between full readings: nothing else shows a reload of queues.conf.",
    )
    figures_s: float = Field(5.0, ge=1, le=60, description="Seconds between readings of the queues' figures.")
    idle_timeout_s: int = Field(
        900,
        ge=60,
        le=3600,
        description="Seconds without a device after which a Remote Assistant is logged off.",
    )
    session_s: int = Field(28_800, ge=3600, le=86_400, description="Lifetime of a session, seconds.")


class SiteSection(Section):
    """A contact centre that phones may log on to. Clients send its id, never an address."""

    id: SiteName = Field(
        description="The site's id in requests of clients. Never change it: all tokens have it."
    )
    url: SiteUrl = Field(
        description="Address of the OSCC-E Server's local web server, or of an Asterisk's manager interface."
    )
    ca_file: File | None = Field(
        None,
        description="PEM file of the authority behind the site's certificate, read again when it changes. "
        "Default: the system's authorities.",
    )
    insecure: bool = Field(
        False,
        description="Allow clear text to a server on another machine: passwords are sent without encryption.",
    )
    display_name: str = Field(
        min_length=1, max_length=64, description="The name that people see when they choose a site."
    )
    country: Country | None = Field(
        None,
        description="The country whose remote numbers are allowed. The Remote Assistant needs it.",
    )
    applications: tuple[Application, ...] = Field(
        (Application.DASHBOARD, Application.REMOTE_ASSISTANT),
        min_length=1,
        max_length=2,
        description="The apps that may log on here.",
    )
    remote_numbers: RemoteNumbersSection = RemoteNumbersSection()
    log_ons_per_s: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Log-ons and links per second at this site, instead of `limits.log_ons_per_s`. An "
        "Asterisk is not asked for links, so there it limits log-ons.",
    )
    asterisk: AsteriskSection | None = Field(None, description="If set, the site is an Asterisk.")


class LimitsSection(Section):
    """Limits of the load. What exceeds a limit is refused, with the time to try again."""

    connections: Many = Field(
        _ADMISSION.connections, description="WebSockets on this node. More are answered 503."
    )
    unhelloed: Many = Field(
        _ADMISSION.unhelloed, description="WebSockets that have not shown a valid token yet."
    )
    unhelloed_per_address: Many = Field(
        _ADMISSION.unhelloed_per_address,
        description="`unhelloed` for one address, or for one user whose token is in the upgrade. Beyond it "
        "the oldest of these WebSockets is closed.",
    )
    handshakes_per_s: PerSecond = Field(
        _ADMISSION.handshakes_per_s,
        description="Upgrades and log-ons per second of this node, on average. There are most of them after "
        "another node has ended.",
    )
    handshakes_burst: Many = Field(_ADMISSION.handshakes_burst, description="Burst of the same.")
    handshakes_per_s_of_address: PerSecond = Field(
        _ADMISSION.handshakes_per_s_of_address,
        description="`handshakes_per_s` for one address, or for one user whose token is in the upgrade. A "
        "whole office may reconnect from one address. TLS handshakes of one address may be twice as many.",
    )
    handshakes_burst_of_address: Many = Field(
        _ADMISSION.handshakes_burst_of_address,
        description="Burst of the same for one address.",
    )
    requests_per_s_of_session: PerSecond = Field(
        _ADMISSION.requests_per_s_of_session,
        description="HTTP requests per second with the token of one session, on average. An export counts as "
        "20, a list of sessions or the end of another session as 10. Beyond it a request waits up to 1 s, "
        "then it is answered 429.",
    )
    requests_burst_of_session: int = Field(
        _ADMISSION.requests_burst_of_session, ge=20, le=1_000_000, description="Burst of the same."
    )
    requests_per_s_of_address: PerSecond = Field(
        _ADMISSION.requests_per_s_of_address,
        description="HTTP requests per second of one address without a token, on average; log-ons and "
        "upgrades do not count. A whole office may load the web client from one address.",
    )
    requests_burst_of_address: Many = Field(
        _ADMISSION.requests_burst_of_address, description="Burst of the same."
    )
    log_ons_per_s: float = Field(
        20,
        gt=0,
        le=10_000,
        description="Log-ons and links per second at a site, of all nodes together, on average and as a "
        "burst. Live nodes share it equally. Log-ons use at most half of it. While no link waits, those of "
        "an address with right passwords use up to three quarters.",
    )
    log_ons_in_flight: int = Field(
        32, ge=1, le=1_000, description="Log-ons and links that wait for their answer, of all nodes together."
    )
    devices: int = Field(_SESSION.devices, ge=1, le=20_000, description="Connected phones of one user.")
    ping_s: float = Field(
        _SESSION.ping_s, ge=10, le=55, description="Time between pings, unless a phone chooses another."
    )
    pace_min_s: float = Field(
        _SESSION.pace_min_s,
        ge=0,
        le=5,
        description="Minimum time between two frames of state for a phone that keeps up. The first change "
        "after that time leaves at once. 0: each turn of the loop.",
    )
    frames_per_s: float = Field(
        _SESSION.frames_per_s,
        ge=1,
        le=1_000,
        description="Frames per second that a phone may send, on average. Each whole KiB of a frame "
        "counts as one more.",
    )
    frames_burst: int = Field(_SESSION.frames_burst, ge=1, le=10_000, description="Burst of the same.")
    commands_in_flight: int = Field(
        _SESSION.commands_in_flight, ge=1, le=100, description="Commands of a phone without a result yet."
    )
    linger_s: float = Field(
        90,
        ge=0,
        le=3_600,
        description="Time that a user's link stays open after their last phone: phones lose their "
        "connection briefly. Up to three times as long on a node that does not get its core.",
    )
    linger_remote_assistant_s: float = Field(
        900,
        ge=0,
        le=3_600,
        description="`linger_s` while a Remote Assistant is logged on: the phone that rings is usually the "
        "one with the app.",
    )
    drain_notice_s: float = Field(
        10,
        ge=0,
        le=120,
        description="On SIGTERM, where other nodes live: time for which the node is only unready, so that "
        "load balancers stop sending phones first.",
    )
    drain_s: float = Field(
        60,
        ge=0,
        le=3_600,
        description="After that: time within which all phones are sent away. A user moves no faster than the "
        "other nodes' share of `log_ons_per_s` allows, so a node should own no more users than that share "
        "times this. Phones of a single node come back within at most 10 s.",
    )
    balance: bool = Field(
        False,
        description="Whether a node with more than 1.3 times the mean of all nodes' phones sends some on "
        "(`bye` 4201), a few each second, until it has 1.2 times the mean. Off by default: it is of use "
        "behind a load balancer that gives each new connection to the node with the fewest, or to each in "
        "turn. A load balancer that keeps a phone at its node sends it back.",
    )


class NoticesSection(Section):
    """Messages shown before log-on and inside the system."""

    files: tuple[File, ...] = Field(
        (), max_length=100, description="TOML files, one per notice, or folders with such *.toml files."
    )


class PrivacySection(Section):
    """Information for people about the handling of their data."""

    contact: Annotated[str, Field(max_length=200)] = Field(
        "", description="Contact for questions about personal data; shown by `GET /v1/about`."
    )
    statement_url: PageUrl | None = Field(
        None, description="Address of the privacy statement; shown by `GET /v1/about`."
    )


class LogSection(Section):
    """JSON lines on standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The lowest level that is logged. No level shows personal or realtime data."
    )


class TracingSection(Section):
    """Traces of log-ons, commands and takeovers, by OpenTelemetry; needs the extra `otel`."""

    endpoint: CollectorUrl | None = Field(
        None,
        description="Address of a collector for OTLP over HTTP, such as `https://otel.example/v1/traces`. "
        "Without it nothing is traced. A trace does not identify anybody.",
    )
    sampled: float = Field(
        0.1,
        ge=0,
        le=1,
        description="The share of traces that are kept, also of those that a phone started.",
    )


class Settings(Section):
    """All settings."""

    client: ClientSection = ClientSection()
    ops: OpsSection = OpsSection()
    admin: AdminSection = AdminSection()
    node: NodeSection = NodeSection()
    bus: BusSection = BusSection()
    secrets: SecretsSection | None = None
    sites: tuple[SiteSection, ...] = Field(min_length=1, max_length=100)
    limits: LimitsSection = LimitsSection()
    notices: NoticesSection = NoticesSection()
    privacy: PrivacySection = PrivacySection()
    log: LogSection = LogSection()
    tracing: TracingSection = TracingSection()
