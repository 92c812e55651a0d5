"""What is asked of a contact centre, its phones and their onlookers at each size of the scenarios?

At the full size 200 users have two phones each. What grows with users is asked for less often
there: three nodes, Redis, the OSCC-E Server and all phones share two cores, and need time for faults.
"""

from __future__ import annotations

import os
from typing import Final

IS_FULL: Final = os.environ.get("SCENARIO_SIZE", "light") == "full"

INTERVAL_S: Final = 2.0 if IS_FULL else 0.5
"""Between two readings of each user's realtime data."""
EVENTS_PER_S: Final = 50 if IS_FULL else 20
"""Of agents and calls, in the whole centre."""
COMMANDS_PER_S: Final = 20.0
"""Of all phones together, at most: each changes what dozens of users see."""
ROAMS_PER_S: Final = 20.0
"""Of all phones together, at most: each costs the programs some 16 ms of a core, most for a whole view."""
BEAT_S: Final = 1.0 if IS_FULL else 0.25
"""How often the beacon changes, for everybody."""
LOOK_S: Final = 0.5 if IS_FULL else 0.1
"""Between two looks at every phone; figures are as fine as that."""
