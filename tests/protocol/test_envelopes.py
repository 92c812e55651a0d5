"""Every envelope names the user that it concerns."""

from __future__ import annotations

import dataclasses
from typing import get_args

from gateway.protocol import envelopes

WHOM = frozenset({"user", "ticket", "node", "number", "request", "told"})
"""A user, one of their sessions, a node, the sender of that request number, or each of several messages."""


def test_envelopes_say_whom_they_are_about() -> None:
    for of in get_args(envelopes.Envelope):
        assert WHOM & {field.name for field in dataclasses.fields(of)}, of


def test_a_report_shows_nothing_of_what_is_in_it() -> None:
    assert repr(envelopes.Report(5, ({"display_name": "canary"},))) == "Report(5, 1 records)"
