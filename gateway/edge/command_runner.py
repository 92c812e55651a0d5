"""Commands of phones: checks at the edge, rules for remote numbers, the call to the node.

The ports are what the edge needs from its node. :class:`gateway.runtime.node.Node` and
:class:`gateway.runtime.accounts.Accounts` implement them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

import phonenumbers
from phonenumbers import CountryCodeSource, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from gateway.core.ledger import Health, Ledger
from gateway.domain.commands import AcknowledgeNotice, Call, ChangeRemoteNumber, Outcome, Status
from gateway.domain.errors import ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import SessionId, Ticket, UserId
from gateway.domain.resources import Resource
from gateway.domain.upstream import LoggedOff, LoggedOn, LogOn, SessionInfo
from gateway.edge.channel import ConnectionStats
from gateway.edge.credentials import SessionCredentials
from gateway.edge.notices import NoticesInForce
from gateway.protocol.envelopes import SessionFacts
from gateway.protocol.frames import Renewed
from gateway.runtime.mirror import Connection
from gateway.runtime.ports import Clock


class SessionAttachment(Protocol):
    """Result of an attach."""

    @property
    def facts(self) -> SessionFacts:
        """The facts of the session that OSCC-E accepted."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The user's mirror."""
        ...


class SocketNode(Protocol):
    """The node, as sockets use it."""

    async def attach(
        self, connection: Connection, ticket: Ticket, topics: tuple[str, ...] | None
    ) -> SessionAttachment:
        """Attach a session. Return when OSCC-E has accepted it in this epoch; bounded in time.

        Raises:
            SessionRefused: With the close code of the socket.
        """
        ...

    def follow(self, connection: Connection, topics: tuple[str, ...]) -> None:
        """Change the topics of the connection."""
        ...

    async def invoke(self, connection: Connection, call: Call) -> Outcome:
        """Execute a command. Never raises; bounded by the deadline of the call."""
        ...

    def touch(self, connection: Connection) -> None:
        """Record that a frame arrived."""
        ...

    def detach(self, connection: Connection) -> None:
        """Record that the socket has closed. Called once for each, attached or not."""
        ...

    def health(self, user: UserId) -> Health:
        """Return the freshness of the user's data."""
        ...


class SessionNode(SocketNode, Protocol):
    """The node, as sockets and HTTP routes use it."""

    def denied(self, ticket: Ticket) -> SessionRefused | None:
        """Return how the session ended; None when this node has no record of it."""
        ...

    def seen_by(self, ticket: Ticket) -> Mapping[str, Resource]:
        """Return the session's view of the mirror, as far as this node holds it."""
        ...


class AccountService(Protocol):
    """Log-on and log-off. Each call is bounded in time and may raise GatewayError."""

    async def log_on(self, site: str, credentials: LogOn, address: str = "") -> LoggedOn:
        """Open a session at OSCC-E, within the limits of the *address*."""
        ...

    async def log_off(self, ticket: Ticket) -> LoggedOff:
        """End the session. ``after_contact``: not confirmed, and retried. Does not raise."""
        ...

    async def sessions(self, ticket: Ticket) -> tuple[SessionInfo, ...]:
        """Return the user's sessions."""
        ...

    async def end(self, ticket: Ticket, session: SessionId) -> LoggedOff:
        """End a session of the user; their own as :meth:`log_off` does."""
        ...


CHARS_MAX: Final = 64
_DIALLED: Final = re.compile(r"\+?[0-9]+")
_E164: Final = re.compile(r"\+[0-9]{7,15}")
_WRAPPING: Final = "\u200e\u202a\u202c\u202d\u2066\u2068\u2069"
"""Left-to-right marks that phones put around a copied number. Inside a number they are refused."""
_PLUSES: Final = "+\uff0b"
_SEPARATORS: Final = "./()[]\u2212\uff0e\uff0f\uff08\uff09"
"""Separators, in addition to any space (Zs) and any hyphen or dash (Pd)."""
_OF_PERSONS: Final = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.MOBILE,
        PhoneNumberType.FIXED_LINE_OR_MOBILE,
        PhoneNumberType.VOIP,
    }
)
"""Types of number at which a person answers, at the price of a normal call. All others are refused."""
_SPECIAL: Final = re.compile(
    r"""
    # North America, in any area: 976 is premium rate, 950 reaches carriers, N11 are services, 555-1212 is
    # directory assistance (ATIS-0300051, Central Office Code Assignment Guidelines: codes not assigned)
    \+1[2-9]\d{2}(?:976\d{4}|950\d{4}|[2-9]11\d{4}|5551212)
    # Canada: satellites and other services with prices of their own (CNAC, Canadian Non-Geographic Codes)
    | \+1600\d{7}
    # Australia: satellite telephones and other services (ACMA, Telecommunications Numbering Plan 2015)
    | \+6114\d+
    # under Russia's code, but in Abkhazia, at prices of a call abroad (Russian numbering plan: 840 and 940)
    | \+7[89]40\d{7}
    """,
    re.VERBOSE,
)
"""Services and special prices, in E.164, that libphonenumber reports as ordinary telephones."""
_LOCAL_SERVICES: Final = {"DE": re.compile(r"11\d{1,4}|19\d{3}")}
"""Services after an area code. Germany: 11x are services, 19xxx the uniform numbers of ambulances (19222),
poison centres (19240) and others (BNetzA, Nummernplan Ortsnetzrufnummern).
"""
_PRIVATE_NETWORKS: Final = re.compile(r"\+435(?:0|17|7|9)\d+")
"""Company-wide access numbers that libphonenumber reports as VoIP numbers. Austria: (0)50, (0)517, (0)57 and
(0)59 are private networks, the police's 059 133 among them (RTR, KEM-V 2009).
"""


@dataclass(frozen=True, slots=True, repr=False)
class NumberPolicy:
    """Numbers that one site allows. Prefixes are in E.164, such as ``+4331``.

    *country*: the country whose numbers are allowed; None: no number at all is allowed.
    *allow*: more allowed prefixes. One that is longer than a country code also allows company-wide access
    numbers (such as ``+4158`` or ``+4359``), which belong to no area. *deny*, *own*: prefixes that are never
    allowed; *own* are those of the contact centre.
    """

    country: str | None
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def admits(self, number: PhoneNumber, e164: str) -> bool:
        """Return whether calls may be routed to *number*, which is valid."""
        if e164.startswith((*self.deny, *self.own)) or _is_emergency(number) or _is_service(number, e164):
            return False
        kind = phonenumbers.number_type(number)
        if kind == PhoneNumberType.UAN or _PRIVATE_NETWORKS.fullmatch(e164):
            return any(e164.startswith(prefix) and len(prefix) > len(_code(number)) for prefix in self.allow)
        is_home = phonenumbers.region_code_for_number(number) == self.country
        return kind in _OF_PERSONS and (is_home or e164.startswith(self.allow))


_NOWHERE: Final = NumberPolicy(None)


class NumberPolicies:
    """Policies of remote numbers of all sites.

    Args:
        policies: By id of site. A site without a policy allows no number.
    """

    def __init__(self, policies: Mapping[str, NumberPolicy]) -> None:
        self._policies: Final = dict(policies)

    def accept(self, site: str, text: str) -> str:
        """Return the number in *text* in E.164. A returned number is accepted again, unchanged.

        Raises:
            GatewayError: ``remote_number_missing``: *text* is empty or space; ``remote_number_invalid``: it
                is not a complete telephone number; ``remote_number_not_allowed``: it is an emergency or short
                number, or the site's policy refuses it. The error does not contain the reason.
        """
        policy = self._policies.get(site, _NOWHERE)
        if policy.country is None:
            raise _not_allowed()
        number = _read(_dialled(text), policy.country)
        if phonenumbers.is_valid_short_number(number):
            raise _not_allowed()
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        if not phonenumbers.is_valid_number(number) or _E164.fullmatch(e164) is None:
            raise _invalid()
        if not policy.admits(number, e164):
            raise _not_allowed()
        return e164


def _dialled(text: str) -> str:
    """Return *text* as ASCII digits, with or without a plus."""
    if len(text) > CHARS_MAX:
        raise _invalid()
    bare = text.strip().strip(_WRAPPING).strip()
    if not bare:
        raise GatewayError(ErrorCode.REMOTE_NUMBER_MISSING, "A remote number is needed.")
    dialled = "".join(_plain(character) for character in bare)
    if _DIALLED.fullmatch(dialled) is None:
        raise _invalid()
    return dialled


def _plain(character: str) -> str:
    """Return a digit or plus in ASCII, nothing for a separator, and any other character unchanged."""
    if character in _PLUSES:
        return "+"
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    return "" if category in {"Zs", "Pd"} or character in _SEPARATORS else character


def _read(dialled: str, country: str) -> PhoneNumber:
    """Parse *dialled* as a number in *country*. The result may be invalid."""
    number = _parsed(dialled, country)
    if dialled.startswith("00") and (number is None or not phonenumbers.is_valid_number(number)):
        # 00 is common also where another prefix is used for calls abroad, such as 011 or 001
        number = _parsed(f"+{dialled[2:]}", country)
    if number is None:
        raise _invalid()
    if not _is_international(number) and dialled not in _national_spellings(number, country):
        # without the area code it could be the number of another subscriber, who would get the calls
        raise _invalid()
    return number


def _parsed(dialled: str, country: str) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(dialled, country, keep_raw_input=True)
    except phonenumbers.NumberParseException:
        return None


def _is_international(number: PhoneNumber) -> bool:
    return number.country_code_source in {
        CountryCodeSource.FROM_NUMBER_WITH_PLUS_SIGN,
        CountryCodeSource.FROM_NUMBER_WITH_IDD,
    }


def _national_spellings(number: PhoneNumber, country: str) -> set[str]:
    written = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    prefix = phonenumbers.ndd_prefix_for_region(country, True) or ""
    return {
        phonenumbers.normalize_digits_only(written),
        prefix + phonenumbers.national_significant_number(number),
    }


def _is_emergency(number: PhoneNumber) -> bool:
    """Return whether *number* is an area code and an emergency number."""
    region, local = _local(number)
    return region is not None and phonenumbers.is_emergency_number(local, region)


def _is_service(number: PhoneNumber, e164: str) -> bool:
    """Return whether *number* is a service, or has a special price, that libphonenumber does not list."""
    region, local = _local(number)
    services = None if region is None else _LOCAL_SERVICES.get(region)
    is_local_service = services is not None and services.fullmatch(local) is not None
    return is_local_service or _SPECIAL.fullmatch(e164) is not None


def _local(number: PhoneNumber) -> tuple[str | None, str]:
    """Return the region, and the part after the area code; None as region where there is no area."""
    area = phonenumbers.length_of_geographical_area_code(number)
    region = phonenumbers.region_code_for_number(number) if area > 0 else None
    return region, phonenumbers.national_significant_number(number)[area:]


def _code(number: PhoneNumber) -> str:
    return f"+{number.country_code}"


def _invalid() -> GatewayError:
    return GatewayError(ErrorCode.REMOTE_NUMBER_INVALID, "The remote number is not a complete number.")


def _not_allowed() -> GatewayError:
    return GatewayError(ErrorCode.REMOTE_NUMBER_NOT_ALLOWED, "The remote number is not allowed.")


class CommandPrechecks:
    """Checks of commands that only the edge can make: telephone numbers and notices.

    Args:
        numbers: The policies of remote numbers.
        notices: The notices in force.
    """

    def __init__(self, numbers: NumberPolicies, notices: NoticesInForce) -> None:
        self._numbers = numbers
        self._notices = notices

    def check(self, call: Call, credentials: SessionCredentials) -> Call:
        """Return *call* as it is executed: a remote number in E.164, everything else unchanged.

        Raises:
            GatewayError: ``not_found``: there is no such notice in this version. For a remote number: the
                errors of :meth:`NumberPolicies.accept`.
        """
        match call.command:
            case ChangeRemoteNumber(number=number):
                accepted = self._numbers.accept(credentials.ticket.user.site, number)
                return replace(call, command=ChangeRemoteNumber(accepted))
            case AcknowledgeNotice(notice_id=notice_id, version=version):
                if not self._notices.kept([(notice_id, version)]):
                    raise GatewayError(ErrorCode.NOT_FOUND, "There is no such notice.")
                return call
            case _:
                return call

    def acknowledged(self, command: AcknowledgeNotice, ticket: Ticket) -> tuple[tuple[str, int], ...]:
        """Return the notices acknowledged after *command*, as (id, version)."""
        return self._notices.kept((*ticket.notices, (command.notice_id, command.version)))


class CommandResult(NamedTuple):
    """Result of a command. *renewed* is sent before it."""

    outcome: Outcome
    renewed: Renewed | None


class CommandRunner:
    """Runner of the commands of phones.

    Invariant: each command that was counted as in flight is subtracted when it ends, however it ends.

    Args:
        node: Executes commands.
        prechecks: Checks commands before they are executed.
        clock: Measures how long they take.
    """

    def __init__(self, node: SocketNode, prechecks: CommandPrechecks, clock: Clock) -> None:
        self._node = node
        self._prechecks = prechecks
        self._clock = clock

    async def run(
        self, connection: Connection, call: Call, credentials: SessionCredentials, stats: ConnectionStats
    ) -> CommandResult:
        """Run *call* and return its result. Bounded by the deadline of the call.

        Args:
            connection: The phone's connection.
            call: The command.
            credentials: The phone's session, with the notices it has acknowledged.
            stats: Counts.
        """
        began = self._clock.now()
        stats.command_started()
        try:
            checked = self._prechecks.check(call, credentials)
            outcome = await self._node.invoke(connection, checked)
        except GatewayError as error:
            outcome = Outcome(Status.REJECTED, error)
        except BaseException:
            stats.command_abandoned()
            raise
        stats.command_finished(call, outcome, self._clock.now() - began)
        return CommandResult(outcome, self._renewed(call, outcome, credentials))

    def _renewed(self, call: Call, outcome: Outcome, credentials: SessionCredentials) -> Renewed | None:
        """Return a token that contains the acknowledgement."""
        if not isinstance(call.command, AcknowledgeNotice) or outcome.status is not Status.APPLIED:
            return None
        return credentials.acknowledge(self._prechecks.acknowledged(call.command, credentials.ticket))
