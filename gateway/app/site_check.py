"""Whether a site's contact centre answers and, where it does not, why."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from contextlib import suppress
from secrets import token_bytes
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from cryptography import x509

from gateway.app.certificates import WARNING_S
from gateway.app.config_sections import Asterisk, Site
from gateway.app.sites import AMI_TLS_PORT, asterisk_settings
from gateway.app.tls import site_context
from gateway.domain.errors import GatewayError
from gateway.runtime.ports import Clock
from gateway.upstream.asterisk.people import PeopleError, read_people
from gateway.upstream.asterisk.server import AsteriskServer
from gateway.upstream.client import Deadlines, OsccServer

SITE_S: Final = 5.0
_HTTPS_PORT: Final = 443
_DAY_S: Final = 86_400


class Answer(NamedTuple):
    """What became of asking a site, a sentence each; None: there is nothing to say."""

    told: str | None = None
    advice: str | None = None
    fault: str | None = None


class _Shown(NamedTuple):
    """What a handshake showed: why it failed, or when the certificate ends."""

    trouble: str | None = None
    ends_at_s: float | None = None


async def ask(place: int, site: Site, clock: Clock) -> Answer:
    """Ask the site which server it is; bounded in time.

    Raises:
        ConfigError: Its file of authorities cannot be used.
    """
    context = site_context(place, site)
    shown = _Shown() if context is None else await _handshake(site, context, clock)
    if shown.trouble is not None:
        return Answer(fault=f"Site {site.id} at {site.url}: TLS with its server fails: {shown.trouble}.")
    advice = _near_end(site, shown, clock)
    if site.asterisk is not None:
        return await _ask_asterisk(site, site.asterisk, context, clock, advice)
    async with OsccServer(
        site.id, site.url, clock, tls=context, deadlines=Deadlines(answer_s=SITE_S)
    ) as server:
        try:
            about = await server.about()
        except GatewayError as error:
            return Answer(None, advice, f"Site {site.id} at {site.url}: {error.message}")
    told = f"site {site.id} answers: OSCC-E {about.extensions_version}, contact center"
    return Answer(f"{told} {about.contact_center_version}", advice)


async def _ask_asterisk(
    site: Site, asterisk: Asterisk, context: ssl.SSLContext | None, clock: Clock, advice: str | None
) -> Answer:
    """Log in to an Asterisk and read it once."""
    try:
        people = read_people(asterisk.people_file, asterisk.remote_context)
    except PeopleError as error:
        return Answer(fault=f"Site {site.id}: the file of people {asterisk.people_file} {error}.")
    settings = asterisk_settings(site, asterisk, context, is_alone=True)
    async with AsteriskServer(site.id, settings, clock, jitter=lambda: 0.0, draw=token_bytes) as server:
        if not await server.reached(SITE_S):
            why = _AMI_FAULTS.get(server.monitor.last_failure, "it does not answer")
            return Answer(None, advice, f"Site {site.id} at {site.url}: {why}.")
        told = f"site {site.id} answers: Asterisk {server.monitor.version}, AMI {server.monitor.ami_version}"
        counts = f"{len(server.monitor.queues.queues)} queues, {len(people.by_login)} people"
        missing = [name for name in _AMI_WANTED if not server.monitor.may(name)]
    if missing:
        lacks = (
            f"Site {site.id}: the AMI account may not use {', '.join(missing)}: what needs it is not offered."
        )
        advice = lacks if advice is None else f"{advice} {lacks}"
    return Answer(f"{told}, {counts}", advice)


_AMI_WANTED: Final = ("QueuePause", "QueuePenalty", "QueueAdd", "QueueRemove", "DBPut", "DBDel", "DBGetTree")
_AMI_FAULTS: Final = {
    "refused": "nothing listens there",
    "timeout": "it does not answer in time",
    "name_unknown": "the name of its host is not known",
    "tls": "TLS with it fails",
    "protocol": "what listens there is no Asterisk",
    "wrong_secret": "it refuses the user or the secret",
    "rights": "its AMI account may not read queues",
}
"""Why an Asterisk is not reached, as the end of a sentence."""


def _near_end(site: Site, shown: _Shown, clock: Clock) -> str | None:
    left_s = None if shown.ends_at_s is None else shown.ends_at_s - clock.wall_ms() / 1000
    if left_s is None or left_s >= WARNING_S:
        return None
    return f"The certificate of site {site.id}'s server expires in {left_s / _DAY_S:.0f} days."


async def _handshake(site: Site, context: ssl.SSLContext, clock: Clock) -> _Shown:
    """Shake hands and hang up. What is no matter of TLS is left to whoever asks next."""
    parts = urlsplit(site.url)
    port = _HTTPS_PORT if parts.scheme == "https" else AMI_TLS_PORT
    with suppress(OSError, TimeoutError):
        async with clock.timeout(SITE_S):
            try:
                _, writer = await asyncio.open_connection(parts.hostname, parts.port or port, ssl=context)
            except ssl.SSLCertVerificationError as error:
                # the library's own word for what it does not accept; nothing that the server wrote
                return _Shown(str(error.verify_message).rstrip("."))
            except ssl.SSLError:
                return _Shown("they agree on no version or cipher of TLS, or it speaks none at this port")
            der: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
            ends: dt.datetime = x509.load_der_x509_certificate(der).not_valid_after_utc
            return _Shown(ends_at_s=ends.timestamp())
    return _Shown()
