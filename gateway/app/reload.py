"""Reload files and operator notices while a node runs: on a timer, on SIGHUP and on request.

A notice is one TOML file, alone or in a folder.
"""

from __future__ import annotations

import asyncio
import logging
import re
import signal
import ssl
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, Generic, Literal, TypeVar

from cryptography import x509
from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from gateway.app.adapters import (
    DAY_S,
    WARNING_S,
    CertificatePair,
    Keyring,
    certificate_problems,
    chain_of,
    covers,
    expires_at_s,
    host_names,
    load_pair,
    read_authorities,
    read_pair,
    server_context,
    trust_context,
)
from gateway.app.config.errors import ConfigError, fault_ending
from gateway.app.config.settings import ClientSection, PageUrl, SecretsSection, Section, SiteSection
from gateway.app.process import SystemdNotifier, signal_handlers, wait_for
from gateway.edge.policies import ID_CHARS_MAX, NOTICES_MAX, NoticesInForce, NoticeText, OperatorNotice
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry

RELOAD_EVERY_S: Final = 2.0
"""Interval in which files are read, and notices checked that begin to bind."""

ReloadStep = Callable[[], Awaitable[str | None]]
"""Applies the present content of files. Returns the name of the part that could not be reloaded. No content
makes it fail.
"""


class ReloadFailed(Exception):  # noqa: N818 - names what happened
    """The content of some files cannot be used; that of all others is in force."""

    def __init__(self, what: Sequence[str]) -> None:
        super().__init__(", ".join(what))
        self.what: Final = tuple(what)


class Reloader:
    """Reads files at intervals, and at once on request.

    Invariant: readings never overlap, whatever requests them.

    Args:
        always: The parts that are read each time, in order.
        when_asked: The parts that are read only on request, before the others.
    """

    def __init__(self, always: Sequence[ReloadStep], when_asked: Sequence[ReloadStep], clock: Clock) -> None:
        self._always: Final = always
        self._when_asked: Final = when_asked
        self._clock = clock
        self._asked = asyncio.Event()
        self._turn = asyncio.Lock()

    def ask(self) -> None:
        """Request a reading of all parts as soon as possible."""
        self._asked.set()

    async def run(self, after: Callable[[], Awaitable[None]]) -> None:
        """Read at intervals until cancelled; call *after* each time."""
        while True:
            is_asked = self._asked.is_set()
            self._asked.clear()
            await self._read_parts(is_asked=is_asked)
            await after()
            await wait_for(self._asked, RELOAD_EVERY_S, self._clock)

    async def reload_all(self) -> None:
        """Read all parts; their content is in force when this returns.

        Raises:
            ReloadFailed: Some of it cannot be used.
        """
        old = await self._read_parts(is_asked=True)
        if old:
            raise ReloadFailed(old)

    async def _read_parts(self, *, is_asked: bool) -> list[str]:
        async with self._turn:
            checks = (*(self._when_asked if is_asked else ()), *self._always)
            return [old for check in checks if (old := await check()) is not None]


AfterReload = Callable[[], Coroutine[None, None, None]]


@contextmanager
def reload_on_hangup(
    reloading: Reloader, after: AfterReload, supervisor: SystemdNotifier | None, *, is_any: bool
) -> Iterator[AfterReload]:
    """Let SIGHUP reload the files while the block lasts; yield the callback after each reading.

    It calls *after*; a *supervisor* gets reports of reloads. *is_any*: whether there is anything to reload.
    Otherwise a hang-up ends the process, as in a terminal.
    """
    if supervisor is None or not supervisor.is_there:
        with signal_handlers({signal.SIGHUP: reloading.ask}) if is_any else nullcontext():
            yield after
        return
    systemd = supervisor

    def ask() -> None:
        systemd.reload_began()
        reloading.ask()

    async def report() -> None:
        await after()
        if systemd.files_read():
            reloading.ask()

    with signal_handlers({signal.SIGHUP: ask}):
        yield report


# ---- parts that are kept equal to files ----


ReadSecrets = Callable[[], SecretsSection | None]
"""Reads the settings again from their sources; raises ConfigError."""

ContentT = TypeVar("ContentT")

_LOG: Final = logging.getLogger("gateway.app")


class FileReloader(ABC, Generic[ContentT]):
    """A part of the node that is kept equal to its files.

    Invariant: content that cannot be used changes nothing, and its faults are logged once.

    Args:
        part: Its name.
        telemetry: Shows whether the content of the files is in force; None: the caller does.
        seen: The content in force.
    """

    def __init__(self, part: str, telemetry: Telemetry | None, seen: ContentT | None = None) -> None:
        self._part: Final = part
        self._failed = None if telemetry is None else telemetry.reload_failed[part]
        self._seen = seen
        self._faults: tuple[str, ...] = ()

    @abstractmethod
    def _read(self) -> ContentT:
        """Read the files; raises ConfigError. Runs in a thread."""

    @abstractmethod
    async def _apply(self, content: ContentT) -> None:
        """Put *content* in force; raises ConfigError when it cannot be used."""

    async def check_files(self) -> str | None:
        """Put the content of the files in force; return the name of this part if it cannot be used."""
        faults: tuple[str, ...] = ()
        try:
            # in a thread: a network volume may block its reader, and must not block the phones
            content = await asyncio.to_thread(self._read)
            # try again what failed: a certificate may be valid by now, or the system have descriptors
            if self._faults or content != self._seen:
                await self._apply(content)
                self._seen = content
        except ConfigError as error:
            faults = tuple(error.faults)
        before, self._faults = self._faults, faults
        if self._failed is not None:
            self._failed.set(int(bool(faults)))
        if faults and faults != before:
            self._log_faults(faults)
        return self._part if faults else None

    @abstractmethod
    def _log_faults(self, faults: Sequence[str]) -> None:
        """Log why the files cannot be used."""


class KeysReloader(FileReloader[SecretsSection | None]):
    """The sealing keys in force, kept equal to those of the settings. No key is logged.

    Args:
        reread: Reads the secrets again; None: they have no source.
        secrets: The secrets of the start.
        keyring: Puts keys in force.
        renew: Sends each phone a new token when another key seals.
        telemetry: As in :class:`FileReloader`.
    """

    def __init__(
        self,
        reread: ReadSecrets | None,
        secrets: SecretsSection,
        keyring: Keyring,
        renew: Callable[[], Awaitable[None]],
        telemetry: Telemetry,
    ) -> None:
        super().__init__("keys", telemetry, secrets)
        self._reread = reread
        self._pseudonym = secrets.pseudonym_key
        self._keyring = keyring
        self._renew = renew

    async def check_files(self) -> str | None:
        """Put the keys of the settings in force, if they have a source."""
        self._faults = ()  # read on request only: each request has its line
        return None if self._reread is None else await super().check_files()

    def _read(self) -> SecretsSection | None:
        return None if self._reread is None else self._reread()

    async def _apply(self, content: SecretsSection | None) -> None:
        if content is None or content.pseudonym_key != self._pseudonym:
            raise ConfigError(["secrets.pseudonym_key is another than at the start: it is never rotated."])
        before = self._keyring.ids
        is_another = self._keyring.replace(content.sealing_keys)
        ids = self._keyring.ids
        if is_another or ids != before:
            gone = ", ".join(each for each in before if each not in ids) or "none"
            _LOG.info("keys_reloaded", extra={"new": ", ".join(ids), "gone": gone})
        if is_another:
            await self._renew()

    def _log_faults(self, faults: Sequence[str]) -> None:
        _LOG.error("keys_reload_failed", extra={"fault": " ".join(faults)})


# ---- certificate ----


WARN_EVERY_MS: Final = 86_400_000


class CertificateReloader(FileReloader[CertificatePair]):
    """The certificate in force, kept equal to its files.

    Invariant: a certificate that phones would refuse changes nothing. Open connections are not affected, as
    only handshakes use the context.

    Args:
        client: Has the paths of the files; without them the listener uses clear text and nothing is read.
        clock: Shows how long the certificate is still valid.
        telemetry: Shows when it ends, too.

    Raises:
        ConfigError: The files cannot be used now.
    """

    def __init__(self, client: ClientSection, clock: Clock, telemetry: Telemetry) -> None:
        pair = read_pair(client)
        super().__init__("certificate", telemetry, pair)
        self._client = client
        self._clock = clock
        self._telemetry = telemetry
        self._chain: list[x509.Certificate] = []
        """The certificates in force, the listener's own first."""
        self._warned_at_ms: int | None = None
        self.context: Final = None if pair is None else server_context(client, pair)
        """The TLS context of the listener, for its whole life."""
        if pair is not None:
            chain = chain_of(client, pair)
            for flaw in certificate_problems(client, chain, clock.wall_ms()):
                # phones refuse a faulty certificate; a node that does not start would not help them
                (_LOG.error if flaw.is_fault else _LOG.warning)(
                    "certificate_problem", extra={"fault": flaw.text}
                )
            self._note(chain)

    async def check_files(self) -> str | None:
        """Put the content of the files in force, and log a warning before the end of the certificate."""
        if self.context is None:
            return None
        failed = await super().check_files()
        self._warn()
        return failed

    def _read(self) -> CertificatePair:
        pair = read_pair(self._client)
        assert pair is not None  # noqa: S101 - without files there is no context, and no check
        return pair

    async def _apply(self, content: CertificatePair) -> None:
        assert self.context is not None  # noqa: S101 - as above
        server_context(self._client, content)  # the present pair must not become half of a new one
        chain = chain_of(self._client, content)
        if faults := self._faults_of(chain):
            raise ConfigError(faults)
        load_pair(self.context, content)
        before = host_names(self._chain[0])
        self._note(chain)
        names = ", ".join(host_names(chain[0]))
        _LOG.info("certificate_reloaded", extra={"new": names, "days_left": self._days_left()})
        if gone := [name for name in before if not covers(chain[0], name)]:
            _LOG.warning("certificate_covers_fewer_names", extra={"gone": ", ".join(gone)})

    def _log_faults(self, faults: Sequence[str]) -> None:
        _LOG.error("certificate_reload_failed", extra={"fault": " ".join(faults)})

    def _faults_of(self, chain: list[x509.Certificate]) -> list[str]:
        """Return why *chain* must not be used."""
        problems = certificate_problems(self._client, chain, self._clock.wall_ms())
        faults = [problem.text for problem in problems if problem.is_fault]
        # a context has one pair for each type of key, and would still use the old one beside the new
        if type(chain[0].public_key()) is not type(self._chain[0].public_key()):
            faults.append("The key has another type (RSA, EC) than the one in force: restart the node.")
        return faults

    def _note(self, chain: list[x509.Certificate]) -> None:
        self._chain, self._warned_at_ms = chain, None
        self._telemetry.certificate_expiry_timestamp_seconds.set(expires_at_s(chain))

    def _warn(self) -> None:
        """Log once a day."""
        now_ms, warned_at_ms = self._clock.wall_ms(), self._warned_at_ms
        if expires_at_s(self._chain) - now_ms / 1000 >= WARNING_S:
            return
        if warned_at_ms is None or now_ms - warned_at_ms >= WARN_EVERY_MS:
            self._warned_at_ms = now_ms
            _LOG.warning("certificate_expires_soon", extra={"days_left": self._days_left()})

    def _days_left(self) -> int:
        """Return whole days until its end, below 0 after it."""
        return int((expires_at_s(self._chain) - self._clock.wall_ms() / 1000) // DAY_S)


# ---- authorities of sites ----


Trust = Callable[[ssl.SSLContext], None]
"""Verifies a site's server with this context from now on."""


class _SiteAuthorities(FileReloader[bytes]):
    """The authorities that verify one site's server, kept equal to its ``ca_file``."""

    def __init__(self, place: int, site: SiteSection, trust: Trust) -> None:
        super().__init__("authorities", None)
        self._place, self._site, self._trust = place, site, trust
        self._trusted: bytes | None = None

    def _read(self) -> bytes:
        held = read_authorities(self._place, self._site)
        assert held is not None  # noqa: S101 - only sites with a file are read
        return held

    async def _apply(self, content: bytes) -> None:
        if content == self._trusted:
            return
        self._trust(await asyncio.to_thread(trust_context, self._place, self._site, content))
        if self._trusted is not None:
            _LOG.info("authorities_reloaded", extra={"site": self._site.id})
        self._trusted = content

    def _log_faults(self, faults: Sequence[str]) -> None:
        _LOG.error("authorities_reload_failed", extra={"site": self._site.id, "fault": " ".join(faults)})


class AuthoritiesReloader:
    """Keeps the verification of each site with a ``ca_file`` equal to it. *trust*: by the id of the site."""

    def __init__(
        self, sites: Sequence[SiteSection], trust: Mapping[str, Trust], telemetry: Telemetry
    ) -> None:
        self._sites: Final = [
            _SiteAuthorities(place, site, trust[site.id])
            for place, site in enumerate(sites)
            if site.ca_file is not None and site.url.startswith(("https://", "amis://"))
        ]
        self._failed = telemetry.reload_failed["authorities"]

    async def check_files(self) -> str | None:
        """Put the content of the files in force; return the name of this part if one cannot be used."""
        failed = [await site.check_files() for site in self._sites]
        self._failed.set(int(any(failed)))
        return "authorities" if any(failed) else None


# ---- notices ----


FILE_BYTES: Final = 64 * 1024
_ID: Final = re.compile(r"[A-Za-z0-9._-]+")


def _id(text: str) -> str:
    if _ID.fullmatch(text) is None:
        raise ValueError("may hold letters, digits, dots, hyphens and underscores only")
    return text


class TextFile(Section):
    """The text of a notice in one language."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
    summary: Annotated[str, Field(min_length=1, max_length=4_000)]
    link: PageUrl | None = None


class NoticeFile(Section):
    """The content of one notice's file. *texts*: by language tag; the first is the default."""

    id: Annotated[str, Field(min_length=1, max_length=ID_CHARS_MAX), AfterValidator(_id)]
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    category: Literal["privacy", "security", "maintenance"]
    effective_at: AwareDatetime
    must_acknowledge: bool = False
    texts: Annotated[dict[str, TextFile], Field(min_length=1, max_length=50)]


Contents = tuple[tuple[Path, bytes | str], ...]
"""The files of notices, each with its content, or with a sentence about why it cannot be read."""


def read_notices(entries: Sequence[Path]) -> NoticesInForce:
    """Read the notices of files, and of folders of files.

    Raises:
        ConfigError: With a sentence per fault.
    """
    return parse_notices(read_files(entries))


def read_files(entries: Sequence[Path]) -> Contents:
    """Read the files of *entries*, as many as may count; of folders each ``*.toml``, by name.

    Hidden files are left out: a ConfigMap keeps its versions behind hidden names.
    """
    return tuple(islice((each for entry in entries for each in _files_of(entry)), NOTICES_MAX + 1))


def parse_notices(contents: Contents) -> NoticesInForce:
    """Parse the content of files.

    Raises:
        ConfigError: With a sentence per fault.
    """
    notices: list[OperatorNotice] = []
    faults: list[str] = []
    for path, content in contents:
        try:
            notices.append(_notice(_validated(path, content)))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    try:
        return NoticesInForce(notices)
    except ValueError as error:
        raise ConfigError([f"notices.files: {error}."]) from None


def _files_of(entry: Path) -> Iterator[tuple[Path, bytes | str]]:
    try:
        paths = sorted(filter(_is_shown, entry.iterdir())) if entry.is_dir() else [entry]
    except OSError as error:
        yield entry, _unreadable(entry, error)
        return
    for path in paths:
        try:
            with path.open("rb") as file:
                yield path, file.read(FILE_BYTES + 1)
        except OSError as error:
            yield path, _unreadable(path, error)


def _is_shown(path: Path) -> bool:
    return path.suffix == ".toml" and not path.name.startswith(".")


def _unreadable(path: Path, error: OSError) -> str:
    return f"Notice {path} cannot be read: {error.strerror}."


def _validated(path: Path, content: bytes | str) -> NoticeFile:
    if isinstance(content, str):
        raise ConfigError([content])
    if len(content) > FILE_BYTES:
        raise ConfigError([f"Notice {path} is larger than {FILE_BYTES} bytes."])
    try:
        found = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"Notice {path} is not a TOML file: {error}."]) from None
    try:
        return NoticeFile.model_validate(found)
    except ValidationError as error:
        raise ConfigError(
            [
                f"Notice {path}: {'.'.join(map(str, fault['loc']))} {fault_ending(fault)}."
                for fault in error.errors(include_url=False)
            ]
        ) from None


def _notice(found: NoticeFile) -> OperatorNotice:
    return OperatorNotice(
        id=found.id,
        version=found.version,
        category=found.category,
        effective_at_ms=round(found.effective_at.timestamp() * 1000),
        must_acknowledge=found.must_acknowledge,
        texts={tag: NoticeText(text.title, text.summary, text.link) for tag, text in found.texts.items()},
    )


class NoticesReloader(FileReloader[Contents]):
    """The notices in force, kept equal to their files.

    Raises:
        ConfigError: They cannot be used now.
    """

    def __init__(self, entries: Sequence[Path], clock: Clock, telemetry: Telemetry) -> None:
        contents = read_files(entries)
        super().__init__("notices", telemetry, contents)
        self._entries: Final = entries
        self._clock = clock
        self.notices: Final[NoticesInForce] = parse_notices(contents)

    def _read(self) -> Contents:
        return read_files(self._entries)

    async def _apply(self, content: Contents) -> None:
        found = await asyncio.to_thread(parse_notices, content)
        before = {_label(notice) for notice in self.notices.all}
        fresh = [notice for notice in found.all if _label(notice) not in before]
        gone = sorted(before.difference(map(_label, found.all)))
        new = ", ".join(map(_label, fresh))
        _LOG.info("notices_reloaded", extra={"new": new or "none", "gone": ", ".join(gone) or "none"})
        for notice in fresh:
            if notice.category == "privacy" and notice.effective_at_ms <= self._clock.wall_ms():
                _LOG.warning("privacy_notice_late", extra={"new": _label(notice)})
        self.notices.replace(found)

    def _log_faults(self, faults: Sequence[str]) -> None:
        for fault in faults:
            _LOG.error("notices_reload_failed", extra={"fault": fault})


def _label(notice: OperatorNotice) -> str:
    return f"{notice.id} v{notice.version}"
