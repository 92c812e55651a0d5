"""What goes wrong, and when? Faults that are in force, and one-time ones."""

from __future__ import annotations

from gateway.simulator.errors import Refused


class Faults:
    """Faults in force. Everything is off at first."""

    def __init__(self) -> None:
        self.refuse_log_ons = False

    def check_log_on(self) -> None:
        """Refuse a log-on while log-ons are refused.

        Raises:
            Refused: ``FunctionUnavailable``.
        """
        if self.refuse_log_ons:
            raise Refused("FunctionUnavailable", Function="AdministrationDatabase")
