"""Does every envelope say whom it is about or which request it answers?"""

from __future__ import annotations

import dataclasses
from typing import get_args

from gateway.protocol import envelopes


def test_envelopes_name_their_user_or_answer_a_request() -> None:
    for of in get_args(envelopes.Envelope):
        names = {field.name for field in dataclasses.fields(of)}
        assert "user" in names or "request" in names, of


def test_envelopes_cannot_be_changed_on_the_way() -> None:
    for of in (*get_args(envelopes.Envelope), envelopes.Update, envelopes.SessionFacts):
        assert of.__dataclass_params__.frozen, of
