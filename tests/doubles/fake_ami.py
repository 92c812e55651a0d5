"""The small Asterisk of the tests: the simulator's, which shares no code with the adapter."""

from __future__ import annotations

from gateway.simulator.ami import Account, FakeAsterisk, Membership, Queue

__all__ = ["Account", "FakeAsterisk", "Membership", "Queue"]
