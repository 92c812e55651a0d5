"""Do the settings name other sealing keys than those in force?

They are read anew only when somebody asks: a rotation is a step that operators take on all nodes, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import structlog

from gateway.app.config_faults import ConfigError
from gateway.app.config_sections import Secrets
from gateway.app.keyring import Keyring
from gateway.telemetry import Telemetry

Reread = Callable[[], Secrets | None]
"""Reads the settings again, from where they came; raises ConfigError."""

_LOG: Final = structlog.get_logger("gateway.app")


class KeysWatch:
    """What keeps the sealing keys as the settings say.

    Invariant: settings that cannot be used change nothing; no key stands in what is told.

    Args:
        reread: Reads the secrets again; None: there is nowhere to read them from.
        secrets: Those in force.
        keyring: Put them in force.
        renew: Gives each phone a fresh token, after another key seals.
        telemetry: Shows whether the settings say what is in force.
    """

    def __init__(
        self,
        reread: Reread | None,
        secrets: Secrets,
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
        """Put the keys that the settings name now in force; returns what stays old if they cannot be used."""
        if self._reread is None:
            return None
        try:
            # in a thread: a volume over the network may let its reader wait, and no phone with him
            secrets = await asyncio.to_thread(self._reread)
        except ConfigError as error:
            return self._stay(error.faults)
        if secrets is None or secrets.pseudonym_key != self._pseudonym:
            return self._stay(["secrets.pseudonym_key is another than at the start: it is never rotated."])
        self._failed.set(0)
        before = self._keyring.ids
        is_another = self._keyring.replace(secrets.sealing_keys)
        if is_another or self._keyring.ids != before:
            _LOG.info("keys read anew", new=", ".join(self._keyring.ids), gone=_gone(before, self._keyring))
        if is_another:
            await self._renew()
        return None

    def _stay(self, faults: Sequence[str]) -> Literal["keys"]:
        self._failed.set(1)
        _LOG.error("the keys stay as they are", fault=" ".join(faults))
        return "keys"


def _gone(before: tuple[str, ...], keyring: Keyring) -> str:
    return ", ".join(each for each in before if each not in keyring.ids) or "none"
