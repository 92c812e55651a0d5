"""The SDK's mirror converges on all that the gateway's outbox can send."""

from __future__ import annotations

from typing import Any

from gateway.client.mirror import ClientMirror, Took
from gateway.protocol.frames import Changes, Ping
from tests.properties.phone import Phone
from tests.properties.test_convergence import Convergence


class SdkPhone(Phone):
    """The convergence test's phone, played by the SDK's mirror."""

    def __init__(self) -> None:
        self.mirror = ClientMirror()

    @property
    def shown(self) -> dict[str, dict[str, Any]]:  # type: ignore[override]  # made from the mirror
        return {key: dict(value) for key, value in self.mirror.items()}

    @property
    def position(self) -> tuple[str, int] | None:  # type: ignore[override]  # made from the mirror
        position = self.mirror.position
        return None if position is None else (position.stream, position.seq)

    def cut(self) -> None:
        self.mirror.reopen()

    def take(self, frame: Changes | Ping) -> None:
        assert self.mirror.receive(frame) is not Took.GAP, "an ordered channel has no gaps"


class SdkConvergence(Convergence):
    """As :class:`Convergence`, with mirrors of the SDK."""

    def __init__(self) -> None:
        super().__init__()
        self.phones = [SdkPhone() for _ in range(4)]


TestSdkConvergence = SdkConvergence.TestCase
