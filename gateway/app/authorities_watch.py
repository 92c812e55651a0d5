"""Have the authorities of a site changed, and can its server be verified by the new ones?

Contents count, as for certificates.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

import structlog

from gateway.app.config_faults import ConfigError
from gateway.app.config_sections import Site
from gateway.app.tls import authorities, trusting
from gateway.telemetry import Telemetry

_LOG: Final = structlog.get_logger("gateway.app")


class Trusting(Protocol):
    """Whoever verifies a site's server."""

    def trust(self, tls: ssl.SSLContext) -> None:
        """Verify it by *tls* from now on."""
        ...


class AuthoritiesWatch:
    """What has each site's server verified by what ``ca_file`` holds.

    Invariant: a file that cannot be used changes nothing, and each fault of it is told once.

    Args:
        sites: As configured. Where the system's authorities are trusted there is nothing to watch.
        servers: Who verifies, by the id of the site.
        telemetry: Shows whether the files say what is in force.
    """

    def __init__(self, sites: Sequence[Site], servers: Mapping[str, Trusting], telemetry: Telemetry) -> None:
        self._watched: Final = [
            (place, site, servers[site.id])
            for place, site in enumerate(sites)
            if site.ca_file is not None and site.url.startswith(("https://", "amis://"))
        ]
        self._seen: dict[str, bytes | None] = {}
        self._faults: dict[str, tuple[str, ...]] = {}
        self._failed = telemetry.reload_failed["authorities"]

    async def look(self) -> Literal["authorities"] | None:
        """Put what the files say now in force; returns what stays old if one of them cannot be used."""
        for place, site, server in self._watched:
            is_first = site.id not in self._seen
            # in a thread: a volume over the network may let its reader wait, and no phone with him
            found = await asyncio.to_thread(self._read, place, site)
            if isinstance(found, ConfigError):
                self._stay(site.id, tuple(found.faults))
                continue
            self._faults.pop(site.id, None)
            if found is not None:
                server.trust(found)
                if not is_first:
                    _LOG.info("authorities read anew", site=site.id)
        self._failed.set(int(bool(self._faults)))
        return "authorities" if self._faults else None

    def _read(self, place: int, site: Site) -> ssl.SSLContext | ConfigError | None:
        """Return what to verify by; None: by what is in force."""
        try:
            held = authorities(place, site)
            if held is None or held == self._seen.get(site.id):
                return None
            context = trusting(place, site, held)
        except ConfigError as error:
            return error
        self._seen[site.id] = held
        return context

    def _stay(self, site: str, faults: tuple[str, ...]) -> None:
        if self._faults.get(site) != faults:
            self._faults[site] = faults
            _LOG.error("the authorities stay as they are", site=site, fault=" ".join(faults))
