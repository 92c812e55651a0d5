"""Commands ``check-config``, ``keys`` and ``person``: try a configuration, create secrets, add people."""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import errno
import getpass
import json
import logging
import os
import secrets
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from secrets import token_bytes
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from pydantic import ValidationError

from gateway.app.adapters import (
    AMI_TLS_PORT,
    DAY_S,
    WARNING_S,
    CertificateProblem,
    asterisk_settings,
    certificate_problems,
    chain_of,
    client_context,
    covers,
    expires_at_s,
    host_names,
    read_pair,
    site_context,
)
from gateway.app.admin import CheckReport, check_bus, folder_faults
from gateway.app.cli import CliCommand, add_config, advise, report_faults, within
from gateway.app.config import sources as config_sources
from gateway.app.config.errors import ConfigError
from gateway.app.config.settings import (
    MEMORY,
    AsteriskSection,
    ClientSection,
    Settings,
    SiteSection,
    socket_path,
)
from gateway.app.config.sources import (
    load,
    new_sealing_key,
    new_secret_key,
    newest_first,
    write_block,
    write_lines,
)
from gateway.app.process import CommandFailed
from gateway.app.reload import read_notices
from gateway.domain.errors import GatewayError
from gateway.domain.upstream import Trouble, trouble_of
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.ports import Clock
from gateway.upstream.asterisk import AsteriskServer
from gateway.upstream.asterisk.ami import is_recent
from gateway.upstream.asterisk.people import (
    PeopleError,
    PeopleFile,
    Person,
    hash_password,
    read_people,
)
from gateway.upstream.asterisk.publisher import EVERYTHING
from gateway.upstream.oscce import OsccServer
from gateway.upstream.oscce.http import Deadlines

SITE_S: Final = 5.0
_HTTPS_PORT: Final = 443


class _Handshake(NamedTuple):
    """The result of a handshake: why it failed, or when the certificate ends."""

    trouble: str | None = None
    ends_at_s: float | None = None


async def check_site(place: int, site: SiteSection, clock: Clock) -> CheckReport:
    """Query the site for its version; bounded in time.

    Raises:
        ConfigError: Its file of authorities cannot be used.
    """
    context = site_context(place, site)
    shown = _Handshake() if context is None else await _handshake(site, context, clock)
    if shown.trouble is not None:
        fault = f"Site {site.id} at {site.url}: TLS with its server fails: {shown.trouble}."
        return CheckReport(faults=(fault,))
    advices = _expiry_advices(site, shown, clock)
    if site.asterisk is not None:
        return await _ask_asterisk(site, site.asterisk, context, clock, advices)
    async with OsccServer(
        site.id, site.url, clock, tls=context, deadlines=Deadlines(answer_s=SITE_S)
    ) as server:
        try:
            about = await server.about()
        except GatewayError as error:
            why = _SITE_FAULTS.get(trouble_of(error), error.message)
            return CheckReport((), advices, (f"Site {site.id} at {site.url}: {why}",))
    line = f"site {site.id} answers: OSCC-E {about.extensions_version}, contact centre"
    return CheckReport((f"{line} {about.contact_center_version}",), advices)


_SITE_FAULTS: Final[dict[Trouble, str]] = {
    "dns": "Its host name cannot be resolved: check it, and the name servers of this machine.",
    "refused": "Nothing listens there: check host and port, or start its server.",
    "timeout": f"It does not answer within {SITE_S:g} s: check host, port and firewalls.",
    "connection": "The connection breaks, or there is no route: check host, port, proxies and firewalls.",
    "unreadable": "What answers there is not an OSCC-E Server: check host and port.",
    "status": "Its HTTP status is not that of an OSCC-E Server: check host, port and path, and proxies.",
}
"""Why an OSCC-E Server is not reached, and what to do."""


async def _ask_asterisk(
    site: SiteSection,
    asterisk: AsteriskSection,
    context: ssl.SSLContext | None,
    clock: Clock,
    advices: tuple[str, ...],
) -> CheckReport:
    """Log in to an Asterisk and read it once."""
    try:
        people = read_people(asterisk.people_file, asterisk.remote_context)
    except PeopleError as error:
        fault = f"Site {site.id}: the people file {asterisk.people_file} {error}."
        return CheckReport(faults=(fault,))
    settings = asterisk_settings(site, asterisk, context, is_alone=True)
    async with AsteriskServer(site.id, settings, clock, jitter=lambda: 0.0, draw=token_bytes) as server:
        if not await server.reached(SITE_S):
            why = _AMI_FAULTS.get(server.monitor.last_failure, "it does not answer")
            return CheckReport((), advices, (f"Site {site.id} at {site.url}: {why}.",))
        version = server.monitor.version or "of a version that only write=system shows"
        line = f"site {site.id} answers: Asterisk {version}, AMI {server.monitor.ami_version}"
        counts = f"{len(server.monitor.queues.queues)} queues, {len(people.by_login)} people"
        advices += tuple(_asterisk_advices(site.id, server, people))
    return CheckReport((f"{line}, {counts}",), (" ".join(advices),) if advices else ())


def _asterisk_advices(site: str, server: AsteriskServer, people: PeopleFile) -> Iterator[str]:
    """Yield what the configuration needs and the Asterisk does not have."""
    monitor = server.monitor
    missing = [name for name in _AMI_WANTED if not monitor.may(name)]
    if missing:
        yield (
            f"Site {site}: its AMI account may not use {', '.join(missing)}, or this version lacks it: "
            "functions that need it are not offered."
        )
    if not is_recent(monitor.ami_version):
        yield f"Site {site}: AMI {monitor.ami_version} is older than Asterisk 16: some fields are unknown."
    named = {one for person in people.by_login.values() for one in (*person.queues, *person.sees)}
    unknown = sorted(named - {EVERYTHING} - monitor.queues.queues.keys())
    if unknown:
        shown = ", ".join(unknown[:5])
        yield f"Site {site}: the people file names queues that Asterisk does not have: {shown}."
    if not monitor.queues.queues:
        yield f"Site {site}: Asterisk has no queues."


_AMI_WANTED: Final = ("QueuePause", "QueuePenalty", "QueueAdd", "QueueRemove", "DBPut", "DBDel", "DBGetTree")
_AMI_FAULTS: Final = {
    "refused": "nothing listens there",
    "timeout": "it does not answer in time",
    "name_unknown": "its host name cannot be resolved",
    "tls": "TLS with it fails",
    "protocol": "the server there is not an Asterisk",
    "wrong_secret": "it refuses the user or the secret",
    "login_in_use": "its AMI account is logged in already, and manager.conf has allowmultiplelogin = no",
    "rights": "its AMI account may not read queues, or the module app_queue is not loaded",
}
"""Why an Asterisk is not reached, as the end of a sentence."""


def _expiry_advices(site: SiteSection, shown: _Handshake, clock: Clock) -> tuple[str, ...]:
    left_s = None if shown.ends_at_s is None else shown.ends_at_s - clock.wall_ms() / 1000
    if left_s is None or left_s >= WARNING_S:
        return ()
    return (f"The certificate of site {site.id}'s server expires in {left_s / DAY_S:.0f} days.",)


async def _handshake(site: SiteSection, context: ssl.SSLContext, clock: Clock) -> _Handshake:
    """Do a TLS handshake and disconnect. Faults other than TLS are found by the next check."""
    parts = urlsplit(site.url)
    port = _HTTPS_PORT if parts.scheme == "https" else AMI_TLS_PORT
    with suppress(OSError, TimeoutError):
        async with clock.timeout(SITE_S):
            try:
                _, writer = await asyncio.open_connection(parts.hostname, parts.port or port, ssl=context)
            except ssl.SSLCertVerificationError as error:
                # the library's own words for the fault; no text of the server
                return _Handshake(str(error.verify_message).rstrip("."))
            except ssl.SSLError:
                return _Handshake("no version or cipher of TLS is supported by both, or this port has no TLS")
            der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
            ends: dt.datetime = x509.load_der_x509_certificate(der).not_valid_after_utc
            return _Handshake(ends_at_s=ends.timestamp())
    return _Handshake()


# ---- command ----


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_config(parser)
    parser.add_argument(
        "--host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name or address by which phones reach the node: check the certificate for it; repeatable",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--schema", action="store_true", help="print the JSON Schema of the file and exit")
    what.add_argument("--reference", action="store_true", help="print the page of all settings and exit")
    what.add_argument(
        "--offline",
        action="store_true",
        help="check everything except Redis, the sites and the addresses to listen on",
    )


_NO_LINES: Final = logging.NullHandler()
"""Takes the log lines of adapters: the command reports the same faults as sentences."""


def run_check(args: argparse.Namespace) -> int:
    """Print the settings in effect, then a sentence per fault or advice. Returns the exit code."""
    if args.schema or args.reference:
        sys.stdout.write(config_sources.json_schema() if args.schema else config_sources.reference_page())
        return 0
    configuration = load(args.config, os.environ)
    sys.stdout.write(config_sources.effective_toml(configuration))
    clock = SystemClock()
    certificate = describe_certificate(configuration.settings)
    if certificate is not None:
        sys.stdout.write(f"# client.certificate is {certificate}\n")
    advise(setting_advices(configuration.settings, clock.wall_ms()))
    faults = [
        *file_faults(configuration.settings, clock.wall_ms()),
        *uncovered_hosts(configuration.settings, args.host),
    ]
    if not args.offline:
        faults += strange_hosts(configuration.settings)
    if not faults and not args.offline:
        logging.getLogger("gateway").addHandler(_NO_LINES)
        faults += asyncio.run(check_reachable(configuration.settings, clock))
    return report_faults(faults)


def file_faults(settings: Settings, wall_ms: int) -> Iterator[str]:
    """Yield a sentence per fault of a file or folder, or of its content."""
    yield from client_file_faults(settings)
    yield from _faults_in(partial(read_notices, settings.notices.files))
    yield from (flaw.text for flaw in listener_certificate_problems(settings, wall_ms) if flaw.is_fault)
    yield from socket_faults(settings)
    if settings.admin.bundle_folder is not None:
        yield from folder_faults(settings.admin.bundle_folder)
    yield from people_faults(settings)
    for place, site in enumerate(settings.sites):
        yield from _faults_in(partial(site_context, place, site))


def _faults_in(use: Callable[[], object]) -> Sequence[str]:
    """Return a sentence per fault of the files that *use* reads."""
    try:
        use()
    except ConfigError as error:
        return error.faults
    return ()


def strange_hosts(settings: Settings) -> Iterator[str]:
    """Yield a sentence per listener whose address does not belong to this machine."""
    for name, host in (("client.host", settings.client.host), ("ops.host", settings.ops.host)):
        try:
            found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except OSError:
            yield f"{name} {host} cannot be resolved: give an address of this machine, or 0.0.0.0 for all."
            continue
        if not any(_is_of_this_machine(family, address) for family, _, _, _, address in found):
            yield (
                f"{name} {host} is not an address of this machine, so a node here cannot listen on it. Give "
                "one of its addresses, or 0.0.0.0 for all; --offline leaves this check out."
            )


def _is_of_this_machine(family: int, address: tuple[object, ...]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(address)
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def client_file_faults(settings: Settings) -> Sequence[str]:
    """Return a sentence per fault that prevents TLS at the listener."""
    return _faults_in(partial(client_context, settings.client))


def listener_chain(client: ClientSection) -> list[x509.Certificate]:
    """Return the listener's certificates: none in clear text, or if a file has a fault, which is reported."""
    try:
        pair = read_pair(client)
        return [] if pair is None else chain_of(client, pair)
    except ConfigError:
        return []


def listener_certificate_problems(settings: Settings, wall_ms: int) -> list[CertificateProblem]:
    """Return the faults of the listener's certificate for phones, and advice about it."""
    chain = listener_chain(settings.client)
    return list(certificate_problems(settings.client, chain, wall_ms)) if chain else []


def uncovered_hosts(settings: Settings, hosts: Sequence[str]) -> Iterator[str]:
    """Yield a sentence per host in *hosts* that the listener's certificate does not cover."""
    chain = listener_chain(settings.client)
    for host in hosts:
        if settings.client.certificate is None:
            yield f"client.certificate is not set, so whether it is for {host} can be asked of a proxy only."
        elif chain and not covers(chain[0], host):
            yield f"client.certificate {settings.client.certificate} is not for {host}."


def describe_certificate(settings: Settings) -> str | None:
    """Return the names and the end of the listener's certificate; None without a readable one."""
    chain = listener_chain(settings.client)
    if not chain:
        return None
    until = dt.datetime.fromtimestamp(expires_at_s(chain), dt.UTC)
    return f"for {', '.join(host_names(chain[0])) or 'no host'} until {until:%Y-%m-%d %H:%M} UTC"


async def check_reachable(settings: Settings, clock: Clock) -> list[str]:
    """Try Redis and the sites; print those that answer and advice, return a sentence per fault."""
    bus = await check_bus(settings.bus, clock)
    return [*_faults_of(bus), *await check_sites(settings, clock)]


async def check_sites(settings: Settings, clock: Clock) -> list[str]:
    """Query each site; print those that answer, return a sentence per one that does not."""
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(check_site(place, site, clock)) for place, site in enumerate(settings.sites)
        ]
    return [fault for task in asked for fault in _faults_of(task.result())]


def _faults_of(report: CheckReport) -> Sequence[str]:
    """Print the notes and the advice of *report*; return its faults."""
    sys.stdout.writelines(f"# {note}\n" for note in report.notes)
    advise(report.advices)
    return report.faults


def setting_advices(settings: Settings, wall_ms: int) -> Iterator[str]:
    """Yield advice about settings that are allowed."""
    if settings.secrets is None:
        yield "[secrets] is not set: sessions end with the process; make them with `oscc-gateway keys`."
    if settings.client.insecure:
        yield "client.insecure is true: passwords are sent without encryption."
    yield from token_advices(settings)
    yield from proxy_advices(settings)
    if not (settings.privacy.contact or settings.privacy.statement_url or settings.notices.files):
        yield (
            "privacy.contact, privacy.statement_url and notices.files are empty: users are shown neither "
            "how their data is handled nor a contact."
        )
    yield from asterisk_advices(settings)
    yield from (flaw.text for flaw in listener_certificate_problems(settings, wall_ms) if not flaw.is_fault)


def token_advices(settings: Settings) -> Iterator[str]:
    """Yield advice about a missing token of operators, or one that can be guessed."""
    if settings.admin.token is None:
        yield "admin.token is not set: the admin listener stays closed."
        return
    token = settings.admin.token.get_secret_value().lower()
    if len(set(token)) < TOKEN_VARIETY or any(word in token for word in _GUESSED):
        yield "admin.token can be guessed: make one with `openssl rand -hex 24`."


def proxy_advices(settings: Settings) -> Iterator[str]:
    """Yield advice about trusted networks that are too large to hold proxies only."""
    for network in settings.client.trusted_proxies:
        if network.num_addresses > PROXY_ADDRESSES:
            yield (
                f"client.trusted_proxies has the network {network}: each machine in it may send passwords in "
                "clear text and claim any address. List the addresses of proxies only."
            )


def socket_faults(settings: Settings) -> Iterator[str]:
    """Yield why the socket of operators cannot be opened."""
    path = socket_path(settings.admin.host)
    if path is None:
        return
    if len(bytes(path)) > SOCKET_BYTES:
        yield f"admin.host: the path {path} is longer than {SOCKET_BYTES} bytes: choose a shorter one."
        return
    try:
        if not path.parent.is_dir():
            yield f"admin.host: the folder {path.parent} is missing: make it, for the user of the node only."
        elif path.exists() and not path.is_socket():
            yield f"admin.host: {path} is another file: choose another path."
    except PermissionError:
        yield f"admin.host: this user may not look into {path.parent}: run this as the user of the node."


TOKEN_VARIETY: Final = 6
"""A token with fewer different characters can be guessed."""
_GUESSED: Final = ("password", "passwort", "secret", "changeme", "change-me", "example", "qwert", "12345678")
PROXY_ADDRESSES: Final = 65_536
"""Larger networks have machines that are no proxies."""
SOCKET_BYTES: Final = 107
"""Linux' limit for the path of a socket."""


def asterisk_advices(settings: Settings) -> Iterator[str]:
    """Yield advice about sites that are an Asterisk."""
    for site in settings.sites:
        if site.asterisk is None:
            continue
        if settings.bus.url != MEMORY:
            yield (
                f"Site {site.id} is an Asterisk, which fences no links: with several nodes the lease in "
                "Redis alone decides which of them acts for a user (docs/asterisk.md, Log-on and sessions)."
            )
        try:
            mode = site.asterisk.people_file.stat().st_mode
        except OSError:
            continue  # an unreadable file is reported as a fault
        if mode & 0o077:
            yield (
                f"Site {site.id}: others on this machine may read the people file "
                f"{site.asterisk.people_file}: chmod 600."
            )


def people_faults(settings: Settings) -> Iterator[str]:
    """Yield a sentence per people file that cannot be used."""
    for site in settings.sites:
        if site.asterisk is None:
            continue
        try:
            read_people(site.asterisk.people_file, site.asterisk.remote_context)
        except PeopleError as error:
            yield f"Site {site.id}: the people file {site.asterisk.people_file} {error}."


_NEW_HEADER = "# Made by `oscc-gateway keys`. All nodes need the same. Store it like a password.\n"
_ROTATED_HEADER = """\
# The first key seals, all open. With several nodes, give all of them the new key at the end of the list
# first, and then at its head. `oscc-gateway reload`, or SIGHUP, puts each step in force. Nobody is logged
# off: connected phones get new tokens at once, others when they come back. Remove an old key when the last
# session that it sealed has ended. Where the keys are in a file of their own, `--lines add` and
# `--lines lead` print the file for each step.
"""


def add_keys_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--rotate",
        type=Path,
        metavar="FILE",
        help="print the [secrets] of this configuration with a new sealing key in front",
    )
    parser.add_argument(
        "--lines",
        choices=("add", "lead"),
        help="with --rotate, print the lines of the file sealing_keys instead: `add` puts a new key at the "
        "end; `lead` puts the newest key first, after all nodes have it. Write the output to another file "
        "and rename that: `>` would empty the file before it is read",
    )


def run_keys(args: argparse.Namespace) -> int:
    """Print a ``[secrets]`` table, or the lines of a file of keys. Returns the exit code.

    Raises:
        ConfigError: The configuration to rotate cannot be used, or none is named.
    """
    if args.rotate is None:
        if args.lines is not None:
            raise ConfigError(["--lines needs --rotate FILE: the lines are those of its keys."])
        sys.stdout.write(_NEW_HEADER + write_block([new_sealing_key()], new_secret_key()))
        return 0
    secrets = load(args.rotate, os.environ).settings.secrets
    if secrets is None:
        raise CommandFailed(f"{args.rotate} has no [secrets]: make them with `oscc-gateway keys`.")
    present = secrets.sealing_keys
    if args.lines is not None:
        lines = newest_first(present) if args.lines == "lead" else [*present, new_sealing_key(present)]
        sys.stdout.write(write_lines(lines))
        return 0
    sys.stdout.write(
        _ROTATED_HEADER + write_block([new_sealing_key(present), *present], secrets.pseudonym_key)
    )
    return 0


# ---- person ----


PERSON_PASSWORD_VARIABLE: Final = "OSCC_GATEWAY_PERSON_PASSWORD"  # noqa: S105 - the name of a variable
PASSWORD_CHARS: Final = 8


def add_person_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("login", help="the user name: 1 to 32 of a-z, 0-9, _ . -")
    parser.add_argument("--name", required=True, help="the name that others see")
    parser.add_argument("--supervisor", action="store_true", help="may use the Dashboard")
    parser.add_argument("--agent", action="store_true", help="may use the Remote Assistant")
    parser.add_argument(
        "--interface",
        action="append",
        default=[],
        metavar="NAME",
        help="a telephone at the desk, as `queue show` prints it; repeatable",
    )
    parser.add_argument(
        "--queue",
        action="append",
        default=[],
        metavar="NAME",
        help="a queue that the person joins as a remote agent; repeatable",
    )
    parser.add_argument(
        "--sees",
        action="append",
        default=[],
        metavar="NAME",
        help="a queue that the person sees in the Dashboard, or '*' for all; repeatable",
    )
    parser.add_argument(
        "--penalty",
        type=within(int, 0, 100, "between 0 and 100"),
        default=0,
        metavar="N",
        help="penalty in the queues of --queue; default 0",
    )


def _typed_password() -> str:
    """Return the password that is typed at the terminal.

    Raises:
        ConfigError: There is no terminal, or its input has ended.
    """
    if sys.stdin.isatty():
        with suppress(EOFError):
            return getpass.getpass("Password: ")
    raise ConfigError([f"There is no password: type it at a terminal, or set {PERSON_PASSWORD_VARIABLE}."])


def run_person(args: argparse.Namespace) -> int:
    """Print the entry. The password is typed, or taken from the environment. Returns the exit code.

    Raises:
        ConfigError: The entry would not be valid, or the password is too short.
    """
    password = os.environ.get(PERSON_PASSWORD_VARIABLE) or _typed_password()
    if len(password) < PASSWORD_CHARS:
        raise ConfigError([f"The password has fewer than {PASSWORD_CHARS} characters."])
    try:
        person = Person(
            login=args.login,
            name=args.name,
            password=hash_password(password, secrets.token_bytes(16)),
            supervisor=args.supervisor,
            agent=args.agent,
            interfaces=tuple(args.interface),
            queues=tuple(args.queue),
            penalty=args.penalty,
            sees=tuple(args.sees),
        )
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        faults = [(one["loc"][0], str(one["msg"]).removeprefix("Value error, ").rstrip(".")) for one in found]
        raise ConfigError([f"{field}: {text}." for field, text in faults]) from None
    sys.stdout.write(person_toml(person))
    advise(person_advices(person))
    return 0


def person_advices(person: Person) -> Iterator[str]:
    """Yield what the person still needs to use an app; the entry is valid without it."""
    if not (person.supervisor or person.agent):
        yield f"{person.login} may use no app: add --supervisor, --agent or both."
    if person.supervisor and not person.sees:
        yield f"{person.login} sees no queue in the Dashboard: add --sees NAME, or --sees '*'."
    if person.agent and not person.queues:
        yield f"{person.login} joins no queue in the Remote Assistant: add --queue NAME."


def person_toml(person: Person) -> str:
    """Return a person as TOML."""
    lines = ["[[people]]"]
    for name, value in person.model_dump(exclude_defaults=True).items():
        shown = list(value) if isinstance(value, tuple) else value
        lines.append(f"{name} = {json.dumps(shown, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


COMMANDS: Final = {
    "check-config": CliCommand(
        "show the effective settings without their secrets, and test the files and servers that they name",
        add_check_arguments,
        run_check,
        "oscc-gateway check-config --config gateway.toml\n"
        "  oscc-gateway check-config --schema > gateway.schema.json",
    ),
    "keys": CliCommand(
        "create the secrets of a gateway, or rotate its sealing key",
        add_keys_arguments,
        run_keys,
        "oscc-gateway keys >> gateway.toml\n  oscc-gateway keys --rotate gateway.toml",
    ),
    "person": CliCommand(
        "create an entry for the people file of an Asterisk site",
        add_person_arguments,
        run_person,
        "oscc-gateway person ana --name Ana --agent --queue sales >> people.toml\n"
        "  oscc-gateway person bea --name Bea --supervisor --sees '*' >> people.toml",
    ),
}
