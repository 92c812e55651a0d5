"""Remote numbers: which are allowed, and their form."""

from __future__ import annotations

import re
from typing import Final

from gateway.simulator.errors import Refused
from gateway.simulator.settings import SimulatorSettings

_DIALLED: Final = re.compile(r"\+?[0-9]+")
_PUNCTUATION: Final = re.compile(r"[\s().\-/]")
_DIGITS: Final = range(7, 16)
"""ITU-T E.164 allows 15 digits; anything under 7 is a service or emergency number."""


def normalise(number: str, settings: SimulatorSettings) -> str:
    """Return the number in effect: ``+`` and digits.

    Raises:
        Refused: ``RemoteNumberMissing``, ``RemoteNumberInvalid``, ``RemoteNumberNotAllowed``.
    """
    bare = _PUNCTUATION.sub("", number.strip())
    if not bare:
        raise Refused("RemoteNumberMissing")
    if not _DIALLED.fullmatch(bare):
        raise Refused("RemoteNumberInvalid")
    if bare.startswith("00"):
        bare = "+" + bare[2:]
    elif bare.startswith("0"):
        bare = f"+{settings.country_code}{bare[1:]}"
    if not bare.startswith("+") or len(bare) - 1 not in _DIGITS:
        raise Refused("RemoteNumberInvalid")
    if not bare.startswith(settings.allowed_prefixes) or bare.startswith(settings.barred_prefixes):
        raise Refused("RemoteNumberNotAllowed")
    return bare
