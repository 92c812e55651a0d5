"""How long is a user kept?"""

from __future__ import annotations

from gateway.core.link import Linger
from gateway.domain.model import Application


def test_the_phone_that_rings_is_kept_longer() -> None:
    assert Linger().of(Application.DASHBOARD) == 90.0
    assert Linger().of(Application.REMOTE_ASSISTANT) == 900.0


def test_an_operator_may_choose() -> None:
    chosen = Linger(dashboard_s=1.0, remote_assistant_s=2.0)
    assert [chosen.of(application) for application in Application] == [1.0, 2.0]
