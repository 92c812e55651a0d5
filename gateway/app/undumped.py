"""How is the memory of the process kept off the disk?

It holds what its users see, numbers and keys among it. The kernel is told to write no core dump, whatever the
limits and the core pattern say, and to let no other process of the same user look inside (prctl(2),
PR_SET_DUMPABLE); root still can, and swap is the operator's.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_NO: Final = 0


def keep_memory() -> bool:
    """Have no core dump written of this process; tells whether the kernel knows how to refuse it wholly."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, _NO, 0, 0, 0) == 0)
