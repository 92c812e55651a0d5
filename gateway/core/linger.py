"""How long is a user kept after his last phone left?"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.domain.model import Application


@dataclass(frozen=True, slots=True)
class Linger:
    """How long a session is kept after its phone left.

    Longer for a Remote Assistant: the phone that rings is usually the phone with the app.
    """

    dashboard_s: float = 90.0
    remote_assistant_s: float = 15 * 60.0

    def of(self, application: Application) -> float:
        """Return the time for *application*, s."""
        return self.remote_assistant_s if application is Application.REMOTE_ASSISTANT else self.dashboard_s
