"""Functions of the server: which are up, and what needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.simulator.errors import Refused
from gateway.simulator.model import Json

FunctionState = Literal["Up", "Degraded", "Down"]
STATES: Final[tuple[FunctionState, ...]] = ("Up", "Degraded", "Down")

MANAGERS: Final[dict[str, str]] = {
    "RealTime": "Statistics",
    "Historical": "Statistics",
    "Voice": "Media",
    "Email": "Media",
    "Callback": "Media",
    "WebCollaboration": "Media",
    "LocalRouting": "Routing",
    "NetworkRouting": "Routing",
    "RemoteAgent": "Routing",
    "AdministrationDatabase": "Administration",
}
"""Function → the manager it belongs to."""


@dataclass(slots=True)
class Functions:
    """The state of each function; all are up at first."""

    states: dict[str, FunctionState] = field(default_factory=lambda: dict.fromkeys(MANAGERS, "Up"))

    def need(self, *names: str) -> None:
        """Go on only when all of *names* are not down.

        Raises:
            Refused: ``FunctionUnavailable`` with the function's name.
        """
        for name in names:
            if self.is_down(name):
                raise Refused("FunctionUnavailable", Function=name)

    def is_down(self, name: str) -> bool:
        """Tell whether the function is down; what is no function never is."""
        return self.states.get(name) == "Down"

    def messages(self) -> list[Json]:
        """Return one ``ManagerStateChanged`` for each function."""
        return [self.message(name) for name in self.states]

    def message(self, name: str) -> Json:
        """Return the ``ManagerStateChanged`` of one function."""
        return {
            "Type": "ManagerStateChanged",
            "Manager": MANAGERS[name],
            "Function": name,
            "State": self.states[name],
        }
