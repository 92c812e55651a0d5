"""The load of the contact centre, the phones and the observers at each size of the scenarios.

At the full size 200 users have two phones each. Load that grows with users is reduced there: three nodes,
Redis, the OSCC-E Server and all phones share two cores, and need time for faults.
"""

from __future__ import annotations

import os
from typing import Final

IS_FULL: Final = os.environ.get("SCENARIO_SIZE", "light") == "full"

INTERVAL_S: Final = 2.0 if IS_FULL else 0.5
"""Interval of readings of each user's realtime data."""
EVENTS_PER_S: Final = 50 if IS_FULL else 20
"""Changes of agents and calls per second, in the whole centre."""
COMMANDS_PER_S: Final = 20.0
"""Commands per second of all phones together: each changes the view of dozens of users."""
ROAMS_PER_S: Final = 20.0
"""Roaming per second of all phones together: each costs some 16 ms of a core, mostly for a whole view."""
BEAT_S: Final = 1.0 if IS_FULL else 0.25
"""Interval of the beacon's changes."""
LOOK_S: Final = 0.5 if IS_FULL else 0.1
"""Interval of the checks of every phone; figures are as fine as that."""
