"""Bodies of the HTTP API, as documented, with hidden secrets."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.domain.model import Application
from gateway.protocol import bodies
from gateway.protocol.frames import SessionView, UserView

DEVICE: dict[str, Any] = {"id": "d-1", "name": "My phone", "platform": "android", "app_version": "1.0"}
LOG_ON: dict[str, Any] = {
    "site": "main",
    "application": "remote_assistant",
    "user_name": "erika",
    "password": "secret",
    "device": DEVICE,
}


def test_a_log_on_is_read() -> None:
    body = bodies.LOG_ON.validate_python(LOG_ON | {"later": 1})
    assert body == bodies.LogOnBody(
        "main", Application.REMOTE_ASSISTANT, "erika", "secret", bodies.DeviceBody(**DEVICE)
    )
    assert (body.remote_number, body.takeover, body.accepted_notices) == (None, False, None)
    more = {"remote_number": "+49 89 1", "takeover": True, "accepted_notices": [{"id": "n", "version": 3}]}
    body = bodies.LOG_ON.validate_python(LOG_ON | more)
    assert (body.remote_number, body.takeover) == ("+49 89 1", True)
    assert body.accepted_notices == (bodies.NoticeReference("n", 3),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"site": ""},
        {"site": "x" * 65},
        {"site": 1},
        {"application": "webmail"},
        {"user_name": ""},
        {"user_name": "x" * 257},
        {"password": None},
        {"password": "x" * 1025},
        {"takeover": "true"},
        {"takeover": 1},
        {"remote_number": 49},
        {"remote_number": "1" * 65},
        {"device": None},
        {"device": DEVICE | {"id": ""}},
        {"device": DEVICE | {"name": "x" * 129}},
        {"device": {"id": "d-1"}},
        {"accepted_notices": [{"id": "n", "version": "3"}]},
        {"accepted_notices": [{"id": "n", "version": 1}] * 33},
    ],
)
def test_a_log_on_is_checked_strictly(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        bodies.LOG_ON.validate_python(LOG_ON | wrong)


def test_reprs_show_no_secret() -> None:
    body = bodies.LOG_ON.validate_python(LOG_ON | {"remote_number": "+49 89 4711"})
    for secret in ("secret", "4711", "erika"):
        assert secret not in repr(body)
    created = bodies.SessionCreated(
        "secret", SessionView("1", Application.DASHBOARD, 5), UserView("1", "Erika"), "+49 89 4711"
    )
    for secret in ("secret", "4711"):
        assert secret not in repr(created)
