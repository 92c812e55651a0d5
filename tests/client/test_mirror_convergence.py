"""The SDK's mirror converges on all that the gateway's outbox can send."""

from __future__ import annotations

from typing import Any

from gateway.client.mirror import ClientMirror, FrameResult, Value
from gateway.protocol.frames import Changes, Ping
from tests.properties.phone import Phone
from tests.properties.test_convergence import Convergence


class SdkPhone(Phone):
    """The convergence test's phone, played by the SDK's mirror and by one who only listens to it."""

    def __init__(self) -> None:
        self.mirror = ClientMirror()
        self.rebuilt: dict[str, Value] = {}
        self.mirror.listen(self._rebuild)

    def _rebuild(self, key: str, before: Value | None, after: Value | None) -> None:
        assert self.rebuilt.get(key) == before
        if after is None:
            del self.rebuilt[key]
        else:
            self.rebuilt[key] = after

    @property
    def shown(self) -> dict[str, dict[str, Any]]:  # type: ignore[override]  # made from the mirror
        return {key: dict(value) for key, value in self.mirror.items()}

    @property
    def position(self) -> tuple[str, int] | None:  # type: ignore[override]  # made from the mirror
        position = self.mirror.position
        return None if position is None else (position.stream, position.seq)

    def cut(self) -> None:
        before = self.shown, self.position
        self.mirror.reopen()
        assert (self.shown, self.position) == before

    def take(self, frame: Changes | Ping) -> None:
        before = self.shown, self.position
        took = self.mirror.receive(frame)
        assert took is not FrameResult.GAP, "an ordered channel has no gaps"
        assert took is not FrameResult.HELD_BACK or (self.shown, self.position) == before
        assert self.rebuilt == self.mirror


class SdkConvergence(Convergence):
    """As :class:`Convergence`, with mirrors of the SDK."""

    def __init__(self) -> None:
        super().__init__()
        self.phones = [SdkPhone() for _ in range(4)]


TestSdkConvergence = SdkConvergence.TestCase
