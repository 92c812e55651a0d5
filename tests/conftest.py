"""How hard does Hypothesis look?

``fast`` repeats itself and takes seconds; ``deep`` searches anew and takes minutes.
The environment variable ``HYPOTHESIS_PROFILE`` chooses (``make test`` and ``make properties`` set it).
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("fast", max_examples=30, stateful_step_count=30, deadline=None, derandomize=True)
settings.register_profile("deep", max_examples=1000, stateful_step_count=100, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
