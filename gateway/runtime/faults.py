"""Faults in the log: their type and where they were raised, never their text."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path, PurePath
from typing import Final

import gateway

FRAMES_MAX: Final = 24
"""Innermost frames that are logged; beyond that a fault recurses."""
_PACKAGE: Final = Path(gateway.__file__).parent
_OTHERS_PARTS: Final = 3
"""Parts of a path that are kept of a file outside the package."""


def first_of(fault: BaseException) -> BaseException:
    """Return the fault itself, or of a group the first one in it."""
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def frames(fault: BaseException) -> str | None:
    """Return where *fault* was raised: ``file:line:function``, the innermost first, joined by `` < ``.

    All frames inside the package are listed, and the innermost one wherever it is. None: it was not raised.
    """
    found = list(traceback.walk_tb(fault.__traceback__))
    shown = []
    for place, (frame, line) in enumerate(reversed(found)):
        code = frame.f_code
        path = PurePath(code.co_filename)
        if path.is_relative_to(_PACKAGE):
            shown.append(f"{path.relative_to(_PACKAGE.parent)}:{line}:{code.co_name}")
        elif place == 0:
            shown.append(f"{'/'.join(path.parts[-_OTHERS_PARTS:]).lstrip('/')}:{line}:{code.co_name}")
    return " < ".join(shown[:FRAMES_MAX]) or None


def log_fault(log: logging.Logger, event: str, fault: BaseException) -> None:
    """Log *event* as an error, with the type of *fault* (of a group: of the first one) and its frames."""
    fault = first_of(fault)
    log.error(event, extra={"error": type(fault).__name__, "place": frames(fault)})
