"""What is written down of acts?"""

from __future__ import annotations

import dataclasses

import pytest

from gateway.domain.model import NumberAct, SessionId, UserId


def test_an_act_once_noted_stays_as_it_is() -> None:
    act = NumberAct(UserId("main", 7), SessionId("s1"), "change", "****567", "applied")
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(act, "result", "rejected")  # noqa: B010 - a plain assignment would not pass the type check
