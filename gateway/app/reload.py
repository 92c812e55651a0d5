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
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, Literal, Protocol

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
from gateway.app.process import SystemdNotifier, signal_handlers
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
            await self._look(is_asked=is_asked)
            await after()
            with suppress(TimeoutError):
                async with self._clock.timeout(RELOAD_EVERY_S):
                    await self._asked.wait()

    async def reload_all(self) -> None:
        """Read all parts; their content is in force when this returns.

        Raises:
            ReloadFailed: Some of it cannot be used.
        """
        old = await self._look(is_asked=True)
        if old:
            raise ReloadFailed(old)

    async def _look(self, *, is_asked: bool) -> list[str]:
        async with self._turn:
            looks = (*(self._when_asked if is_asked else ()), *self._always)
            return [old for look in looks if (old := await look()) is not None]


AfterReload = Callable[[], Coroutine[None, None, None]]


@contextmanager
def reload_on_hangup(
    reloading: Reloader, after: AfterReload, supervisor: SystemdNotifier | None, *, is_any: bool
) -> Iterator[AfterReload]:
    """Let SIGHUP reload the files while the block lasts; yield the callback after each reading.

    Args:
        reloading: Reads the files.
        after: Called after each reading.
        supervisor: Gets reports of reloads, when there is one.
        is_any: Whether there is anything to reload. Otherwise a hang-up ends the process, as in a terminal.
    """
    if supervisor is not None and supervisor.is_there:
        with supervisor.reloads(reloading.ask):
            yield supervisor.looked(after, reloading.ask)
    else:
        with signal_handlers({signal.SIGHUP: reloading.ask}) if is_any else nullcontext():
            yield after


# ---- sealing keys ----


ReadSecrets = Callable[[], SecretsSection | None]
"""Reads the settings again from their sources; raises ConfigError."""

_LOG: Final = logging.getLogger("gateway.app")


class KeysReloader:
    """Keeps the sealing keys equal to those of the settings.

    Invariant: settings that cannot be used change nothing; no key is logged.

    Args:
        reread: Reads the secrets again; None: they have no source.
        renew: Sends each phone a new token when another key seals.
    """

    def __init__(
        self,
        reread: ReadSecrets | None,
        secrets: SecretsSection,
        keyring: Keyring,
        renew: Callable[[], Awaitable[None]],
        telemetry: Telemetry,
    ) -> None:
        self._reread = reread
        self._pseudonym = secrets.pseudonym_key
        self._keyring = keyring
        self._renew = renew
        self._failed = telemetry.reload_failed["keys"]

    async def look(self) -> Literal["keys"] | None:
        """Put the keys of the settings in force; return the name of this part if they cannot be used."""
        if self._reread is None:
            return None
        try:
            # in a thread: a network volume may block its reader, and must not block the phones
            secrets = await asyncio.to_thread(self._reread)
        except ConfigError as error:
            return self._stay(error.faults)
        if secrets is None or secrets.pseudonym_key != self._pseudonym:
            return self._stay(["secrets.pseudonym_key is another than at the start: it is never rotated."])
        self._failed.set(0)
        before = self._keyring.ids
        is_another = self._keyring.replace(secrets.sealing_keys)
        if is_another or self._keyring.ids != before:
            _LOG.info(
                "keys_reloaded",
                extra={"new": ", ".join(self._keyring.ids), "gone": _removed(before, self._keyring)},
            )
        if is_another:
            await self._renew()
        return None

    def _stay(self, faults: Sequence[str]) -> Literal["keys"]:
        self._failed.set(1)
        _LOG.error("keys_reload_failed", extra={"fault": " ".join(faults)})
        return "keys"


def _removed(before: tuple[str, ...], keyring: Keyring) -> str:
    return ", ".join(each for each in before if each not in keyring.ids) or "none"


# ---- reload of the certificate ----


WARN_EVERY_MS: Final = 86_400_000


class CertificateReloader:
    """The certificate in force, kept equal to its files.

    Invariants: a certificate that phones would refuse changes nothing and is reported once. Open connections
    are not affected, as only handshakes use the context.

    Args:
        client: Has the paths of the files; without them the listener uses clear text and nothing is read.

    Raises:
        ConfigError: The files cannot be used now.
    """

    def __init__(self, client: ClientSection, clock: Clock, telemetry: Telemetry) -> None:
        self._client = client
        self._clock = clock
        self._telemetry = telemetry
        self._seen: CertificatePair | ConfigError | None = read_pair(client)
        self._faults: tuple[str, ...] = ()
        self._ends_at_s = 0.0
        self._names: list[str] = []
        self._sort: type[object] = object
        self._warned_at_ms: int | None = None
        self.context: Final = self._start(self._seen)
        """The TLS context of the listener, for its whole life."""

    async def look(self) -> Literal["certificate"] | None:
        """Put the content of the files in force, and log a warning before the end of the certificate.

        Returns the name of this part if they cannot be used.
        """
        if self.context is None:
            return None
        # in a thread: a network volume may block its reader, and must not block the phones
        found = await asyncio.to_thread(self._read)
        # try again what failed: the certificate may be valid by now, or the system have descriptors
        if self._faults or found != self._seen:
            self._seen = found
            self._take(found, self.context)
        self._warn()
        return "certificate" if self._faults else None

    def _start(self, pair: CertificatePair | None) -> ssl.SSLContext | None:
        if pair is None:
            return None
        context = server_context(self._client, pair)
        for flaw in certificate_problems(self._client, pair, self._clock.wall_ms()):
            # phones refuse a faulty certificate; a node that does not start would not help them
            (_LOG.error if flaw.is_fault else _LOG.warning)("certificate_problem", extra={"fault": flaw.text})
        self._note(pair)
        return context

    def _read(self) -> CertificatePair | ConfigError:
        try:
            pair = read_pair(self._client)
        except ConfigError as error:
            return error
        assert pair is not None  # noqa: S101 - without files there is no context, and no look
        return pair

    def _take(self, found: CertificatePair | ConfigError, context: ssl.SSLContext) -> None:
        try:
            faults = found.faults if isinstance(found, ConfigError) else tuple(self._flaws(found))
            if isinstance(found, CertificatePair) and not faults:
                load_pair(context, found)
        except ConfigError as error:
            faults = error.faults
        if not isinstance(found, CertificatePair) or faults:
            self._stay(faults)
            return
        before = self._names
        self._note(found)
        new = chain_of(self._client, found)[0]
        _LOG.info(
            "certificate_reloaded", extra={"new": ", ".join(self._names), "days_left": self._days_left()}
        )
        if gone := [name for name in before if not covers(new, name)]:
            _LOG.warning("certificate_covers_fewer_names", extra={"gone": ", ".join(gone)})

    def _stay(self, faults: tuple[str, ...]) -> None:
        if faults != self._faults:
            self._faults = faults
            self._telemetry.reload_failed["certificate"].set(1)
            _LOG.error("certificate_reload_failed", extra={"fault": " ".join(faults)})

    def _flaws(self, found: CertificatePair) -> list[str]:
        """Return why *found* must not be used.

        Raises:
            ConfigError: It cannot be used.
        """
        server_context(self._client, found)  # the present pair must not become half of a new one
        faults = [
            flaw.text
            for flaw in certificate_problems(self._client, found, self._clock.wall_ms())
            if flaw.is_fault
        ]
        # a context has one pair for each type of key, and would still use the old one beside the new
        if self._sort_of(found) is not self._sort:
            faults.append("The key has another type (RSA, EC) than the one in force: restart the node.")
        return faults

    def _sort_of(self, pair: CertificatePair) -> type[object]:
        return type(chain_of(self._client, pair)[0].public_key())

    def _note(self, pair: CertificatePair) -> None:
        self._sort = self._sort_of(pair)
        chain = chain_of(self._client, pair)
        self._ends_at_s, self._names = expires_at_s(chain), host_names(chain[0])
        self._telemetry.certificate_expiry_timestamp_seconds.set(self._ends_at_s)
        self._telemetry.reload_failed["certificate"].set(0)
        self._warned_at_ms = None
        self._faults = ()

    def _warn(self) -> None:
        """Log once a day."""
        now_ms, warned_at_ms = self._clock.wall_ms(), self._warned_at_ms
        if self._ends_at_s - now_ms / 1000 >= WARNING_S:
            return
        if warned_at_ms is None or now_ms - warned_at_ms >= WARN_EVERY_MS:
            self._warned_at_ms = now_ms
            _LOG.warning("certificate_expires_soon", extra={"days_left": self._days_left()})

    def _days_left(self) -> int:
        """Return whole days until its end, below 0 after it."""
        return int((self._ends_at_s - self._clock.wall_ms() / 1000) // DAY_S)


# ---- authorities of sites ----


class TrustStore(Protocol):
    """The verifier of a site's server."""

    def trust(self, tls: ssl.SSLContext) -> None:
        """Verify it with *tls* from now on."""


class AuthoritiesReloader:
    """Keeps each site's verification equal to its ``ca_file``.

    Invariant: a file that cannot be used changes nothing, and each of its faults is logged once.
    """

    def __init__(
        self, sites: Sequence[SiteSection], servers: Mapping[str, TrustStore], telemetry: Telemetry
    ) -> None:
        self._watched: Final = [
            (place, site, servers[site.id])
            for place, site in enumerate(sites)
            if site.ca_file is not None and site.url.startswith(("https://", "amis://"))
        ]
        self._seen: dict[str, bytes | None] = {}
        self._faults: dict[str, tuple[str, ...]] = {}
        self._failed = telemetry.reload_failed["authorities"]

    async def look(self) -> Literal["authorities"] | None:
        """Put the content of the files in force; return the name of this part if one cannot be used."""
        for place, site, server in self._watched:
            is_first = site.id not in self._seen
            # in a thread: a network volume may block its reader, and must not block the phones
            found = await asyncio.to_thread(self._read, place, site)
            if isinstance(found, ConfigError):
                self._stay(site.id, tuple(found.faults))
                continue
            self._faults.pop(site.id, None)
            if found is not None:
                server.trust(found)
                if not is_first:
                    _LOG.info("authorities_reloaded", extra={"site": site.id})
        self._failed.set(int(bool(self._faults)))
        return "authorities" if self._faults else None

    def _read(self, place: int, site: SiteSection) -> ssl.SSLContext | ConfigError | None:
        """Return the new context; None: the present one stays."""
        try:
            held = read_authorities(place, site)
            if held is None or held == self._seen.get(site.id):
                return None
            context = trust_context(place, site, held)
        except ConfigError as error:
            return error
        self._seen[site.id] = held
        return context

    def _stay(self, site: str, faults: tuple[str, ...]) -> None:
        if self._faults.get(site) != faults:
            self._faults[site] = faults
            _LOG.error("authorities_reload_failed", extra={"site": site, "fault": " ".join(faults)})


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
        effective_at_ms=_ms(found.effective_at),
        must_acknowledge=found.must_acknowledge,
        texts={tag: NoticeText(text.title, text.summary, text.link) for tag, text in found.texts.items()},
    )


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


# ---- reload ----


class NoticesReloader:
    """The notices in force, kept equal to their files.

    Invariant: content that cannot be used changes nothing, and each of its faults is logged once.

    Raises:
        ConfigError: They cannot be used now.
    """

    def __init__(self, entries: Sequence[Path], clock: Clock) -> None:
        self._entries: Final = entries
        self._clock = clock
        self._seen: Contents = read_files(entries)
        self.is_stale = False
        """Whether the files differ from the values in use, because the files cannot be used."""
        self.notices: Final[NoticesInForce] = parse_notices(self._seen)

    async def look(self) -> Literal["notices"] | None:
        """Put the content of the files in force; return the name of this part if it cannot be used."""
        # in a thread: a network volume may block its reader, and must not block the phones
        contents = await asyncio.to_thread(read_files, self._entries)
        if contents != self._seen:
            self._seen = contents
            await self._take(contents)
        return "notices" if self.is_stale else None

    async def _take(self, contents: Contents) -> None:
        try:
            found = await asyncio.to_thread(parse_notices, contents)
        except ConfigError as error:
            self.is_stale = True
            for fault in error.faults:
                _LOG.error("notices_reload_failed", extra={"fault": fault})
            return
        self.is_stale = False
        self._note(found)
        self.notices.replace(found)

    def _note(self, found: NoticesInForce) -> None:
        before = {_label(notice) for notice in self.notices.all}
        fresh = [notice for notice in found.all if _label(notice) not in before]
        gone = sorted(before.difference(map(_label, found.all)))
        new = ", ".join(map(_label, fresh))
        _LOG.info("notices_reloaded", extra={"new": new or "none", "gone": ", ".join(gone) or "none"})
        for notice in fresh:
            if notice.category == "privacy" and notice.effective_at_ms <= self._clock.wall_ms():
                _LOG.warning("privacy_notice_late", extra={"new": _label(notice)})


def _label(notice: OperatorNotice) -> str:
    return f"{notice.id} v{notice.version}"
