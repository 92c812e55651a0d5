"""Registry: which phones are connected, which are replaced, which linger."""

from __future__ import annotations

import pytest

from gateway.core.registry import Added, NotAdmitted, Registry, RegistryLimits, Removed, Seat
from gateway.domain.errors import CloseCode
from gateway.domain.model import Application, UserId

ANN, BOB = UserId("main", 1), UserId("main", 2)
DASHBOARD, ASSISTANT = Application.DASHBOARD, Application.REMOTE_ASSISTANT


def seat(
    session: str, *, user: UserId = ANN, application: Application = DASHBOARD, device: str | None = None
) -> Seat:
    return Seat(user, session, application, device or f"phone of {session}")


def full(received: dict[str, float] | None = None, devices: int = 2) -> Registry[str]:
    """Return a registry of one user who has *devices* connections, each of which spoke once."""
    received = {} if received is None else received
    registry = Registry[str](received.__getitem__, RegistryLimits(devices=devices))
    for number in range(devices):
        received[f"c{number}"] = float(number)
        registry.add(f"c{number}", seat(f"s{number}"), float(number))
    return registry


@pytest.mark.parametrize(
    ("newcomer", "at", "unseats"),
    [
        (seat("s0", device="another phone"), 2.0, False),
        (seat("s9", device="phone of s0"), 2.0, True),
        (seat("s9", device="phone of s0", user=BOB), 2.0, False),
        (seat("s9"), 2.0, False),
        (seat("s9"), 601.0, True),
    ],
)
def test_a_log_on_that_would_end_another_session_is_known_before(
    newcomer: Seat, at: float, unseats: bool
) -> None:
    registry = full()
    assert registry.unseats(newcomer, at) is unseats
    assert len(registry) == 2


def test_adding_what_is_here_changes_nothing() -> None:
    received: dict[str, float] = {}
    registry = Registry[str](received.__getitem__)
    registry.add("a", seat("s"), 0.0)
    assert registry.add("a", seat("other"), 1.0) == Added(first=False)
    assert ("a" in registry, registry.lingering) == (True, 0)
    assert registry.remove("a", 2.0) == Removed(seat("s"), last=True)
    assert ("a" in registry, registry.lingering) == (False, 1)


def test_silent_devices_make_way_in_the_order_of_their_silence_unless_they_spoke_since() -> None:
    received = {"n0": 700.0, "n1": 702.0, "n2": 703.0, "n3": 704.0}
    registry = full(received, devices=4)
    assert registry.add("n0", seat("t0"), 700.0) == Added(False, ("c0",))
    received["c1"] = 701.0
    assert registry.add("n1", seat("t1"), 702.0) == Added(False, ("c2",))
    registry.remove("c3", 703.0)
    registry.add("n2", seat("t2"), 703.0)
    assert registry.add("n3", seat("t3"), 704.0) == NotAdmitted(CloseCode.TOO_MANY_DEVICES)
    assert registry.add("n3", seat("t3"), 1301.0) == Added(False, ("n0",))
    assert registry.connections(ANN) == ("c1", "n1", "n2", "n3")
