"""How far is the server's clock from the gateway's, as the `Date` of an answer tells?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from gateway.upstream.wire_names import MOST

NONE_BELOW_MS: Final = 2_000
"""Nearer clocks count as one: a `Date` tells whole seconds, and was on its way for a while."""
_HALF_A_SECOND_MS: Final = 500
"""A `Date` is the beginning of its second; the answer was given somewhere within."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def offset_ms(date: str | None, received_ms: int) -> int:
    """Return gateway clock minus server clock.

    Args:
        date: The header `Date` (RFC 9110 §5.6.7), in any of its three forms.
        received_ms: When the answer came, ms since 1970 in the gateway's clock.

    Returns:
        ms; 0 when the clocks are less than 2 s apart, or the header is missing or cannot be read.
    """
    if date is None:
        return 0
    try:
        told = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return 0
    # the oldest form names no zone: HTTP's dates are always UTC
    since_1970 = (told if told.tzinfo is not None else told.replace(tzinfo=UTC)) - _EPOCH
    offset = received_ms - (since_1970 // timedelta(milliseconds=1) + _HALF_A_SECOND_MS)
    return offset if abs(offset) >= NONE_BELOW_MS else 0


def in_gateway_time(instant_ms: int, offset_ms: int) -> int:
    """Return an instant of the server's clock in the gateway's, within what frames can carry."""
    return min(max(instant_ms + offset_ms, 0), MOST)
