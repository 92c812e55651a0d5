"""Clock offset and Retry-After of HTTPS answers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from gateway.upstream.wire_names import MOST

NONE_BELOW_MS: Final = 2_000
"""Nearer clocks count as one: a `Date` tells whole seconds, and was on its way for a while."""
_HALF_A_SECOND_MS: Final = 500
"""A `Date` is the beginning of its second; the answer was given somewhere within."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
RETRY_AFTER_S: Final = (1.0, 300.0)
"""Whatever `Retry-After` says: nobody asks at once, and nobody is kept away for long by a slip."""


def offset_ms(date: str | None, received_ms: int) -> int:
    """Return gateway clock minus server clock.

    Args:
        date: The header `Date` (RFC 9110 §5.6.7), in any of its three forms.
        received_ms: When the answer came, ms since 1970 in the gateway's clock.

    Returns:
        ms; 0 when the clocks are less than 2 s apart, or the header is missing or cannot be read.
    """
    told_ms = None if date is None else _instant_ms(date)
    if told_ms is None:
        return 0
    offset = received_ms - (told_ms + _HALF_A_SECOND_MS)
    return offset if abs(offset) >= NONE_BELOW_MS else 0


def retry_after_s(told: str | None, offset_ms: int, received_ms: int) -> float | None:
    """Return how long to wait before the server is asked again.

    Args:
        told: The header `Retry-After` (RFC 9110 §10.2.3): seconds, or a date of the server's clock.
        offset_ms: Gateway clock minus server clock.
        received_ms: When the answer came, ms since 1970 in the gateway's clock.

    Returns:
        Within :data:`RETRY_AFTER_S`; None when the header is missing or cannot be read.
    """
    if told is None:
        return None
    shortest_s, longest_s = RETRY_AFTER_S
    if re.fullmatch("[0-9]+", told):
        # a number of so many digits is too long for int(), too
        wait_s = float(told) if len(told) < len(str(MOST)) else longest_s
    elif (at_ms := _instant_ms(told)) is not None:
        wait_s = (at_ms + offset_ms - received_ms) / 1000
    else:
        return None
    return min(max(wait_s, shortest_s), longest_s)


def _instant_ms(date: str) -> int | None:
    """Return the instant that a header tells; None when it cannot be read."""
    try:
        told = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    # the oldest form names no zone: HTTP's dates are always UTC
    since_1970 = (told if told.tzinfo is not None else told.replace(tzinfo=UTC)) - _EPOCH
    return since_1970 // timedelta(milliseconds=1)


def in_gateway_time(instant_ms: int, offset_ms: int) -> int:
    """Return an instant of the server's clock in the gateway's, within what frames can carry."""
    return min(max(instant_ms + offset_ms, 0), MOST)
