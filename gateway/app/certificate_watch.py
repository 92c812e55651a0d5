"""Have the listener's certificate and key changed, do the new ones work, and how long will they?

Contents count, as for notices: a renewal that swaps a link is seen as well as one that writes a file.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final, Literal

import structlog

from gateway.app.certificates import WARNING_S, Pair, chain_of, covers, ends_at_s, flaws, names_of, read_pair
from gateway.app.config_faults import ConfigError
from gateway.app.config_sections import Client
from gateway.app.tls import context_of, show
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry

WARN_EVERY_MS: Final = 86_400_000
_DAY_S: Final = 86_400
_LOG: Final = structlog.get_logger("gateway.app")


class CertificateWatch:
    """The certificate in force, and what keeps it so.

    Invariants: what phones would refuse changes nothing and is told once; no connection is
    touched, as only handshakes look at the context.

    Args:
        client: Names the files; none: the listener speaks clear text and nothing is watched.
        clock: Tells how long the certificate will do.
        telemetry: Shows when it ends, and whether the files say what is in force.

    Raises:
        ConfigError: The files cannot be used now.
    """

    def __init__(self, client: Client, clock: Clock, telemetry: Telemetry) -> None:
        self._client = client
        self._clock = clock
        self._telemetry = telemetry
        self._seen: Pair | ConfigError | None = read_pair(client)
        self._faults: tuple[str, ...] = ()
        self._ends_at_s = 0.0
        self._names: list[str] = []
        self._sort: type[object] = object
        self._warned_at_ms: int | None = None
        self.context: Final = self._start(self._seen)
        """What the listener speaks by, for its whole life."""

    async def look(self) -> Literal["certificate"] | None:
        """Put what the files say now in force, and warn of an end that is near.

        Returns what stays old if they cannot be used.
        """
        if self.context is None:
            return None
        # in a thread: a volume over the network may let its reader wait, and no phone with him
        found = await asyncio.to_thread(self._read)
        # what could not be used is tried again: a day may have come, or the system have files to give
        if self._faults or found != self._seen:
            self._seen = found
            self._take(found, self.context)
        self._warn()
        return "certificate" if self._faults else None

    def _start(self, pair: Pair | None) -> ssl.SSLContext | None:
        if pair is None:
            return None
        context = context_of(self._client, pair)
        for flaw in flaws(self._client, pair, self._clock.wall_ms()):
            # phones refuse what is a fault; they are not helped by a node that does not start
            (_LOG.error if flaw.is_fault else _LOG.warning)("look at the certificate", fault=flaw.text)
        self._note(pair)
        return context

    def _read(self) -> Pair | ConfigError:
        try:
            pair = read_pair(self._client)
        except ConfigError as error:
            return error
        assert pair is not None  # noqa: S101 - without files there is no context, and no look
        return pair

    def _take(self, found: Pair | ConfigError, context: ssl.SSLContext) -> None:
        try:
            faults = found.faults if isinstance(found, ConfigError) else tuple(self._flaws(found))
            if isinstance(found, Pair) and not faults:
                show(context, found)
        except ConfigError as error:
            faults = error.faults
        if not isinstance(found, Pair) or faults:
            self._stay(faults)
            return
        before = self._names
        self._note(found)
        new = chain_of(self._client, found)[0]
        _LOG.info("certificate read anew", new=", ".join(self._names), days_left=self._days_left())
        if gone := [name for name in before if not covers(new, name)]:
            _LOG.warning("the certificate is not for all that the one before was for", gone=", ".join(gone))

    def _stay(self, faults: tuple[str, ...]) -> None:
        if faults != self._faults:
            self._faults = faults
            self._telemetry.reload_failed["certificate"].set(1)
            _LOG.error("the certificate stays as it is", fault=" ".join(faults))

    def _flaws(self, found: Pair) -> list[str]:
        """Return why *found* must not be shown.

        Raises:
            ConfigError: It cannot be.
        """
        context_of(self._client, found)  # the one in force must not be left with half a pair
        faults = [flaw.text for flaw in flaws(self._client, found, self._clock.wall_ms()) if flaw.is_fault]
        # a context holds a pair for each sort of key, and would go on showing the old one beside the new
        if self._sort_of(found) is not self._sort:
            faults.append("The key is of another sort (RSA, EC) than the one in force: restart the node.")
        return faults

    def _sort_of(self, pair: Pair) -> type[object]:
        return type(chain_of(self._client, pair)[0].public_key())

    def _note(self, pair: Pair) -> None:
        self._sort = self._sort_of(pair)
        chain = chain_of(self._client, pair)
        self._ends_at_s, self._names = ends_at_s(chain), names_of(chain[0])
        self._telemetry.certificate_expiry_timestamp_seconds.set(self._ends_at_s)
        self._telemetry.reload_failed["certificate"].set(0)
        self._warned_at_ms = None
        self._faults = ()

    def _warn(self) -> None:
        """Tell once a day."""
        now_ms, warned_at_ms = self._clock.wall_ms(), self._warned_at_ms
        if self._ends_at_s - now_ms / 1000 >= WARNING_S:
            return
        if warned_at_ms is None or now_ms - warned_at_ms >= WARN_EVERY_MS:
            self._warned_at_ms = now_ms
            _LOG.warning("the certificate ends soon", days_left=self._days_left())

    def _days_left(self) -> int:
        """Return whole days, below 0 once it has ended."""
        return int((self._ends_at_s - self._clock.wall_ms() / 1000) // _DAY_S)
