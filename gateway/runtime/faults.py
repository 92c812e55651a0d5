"""Where did something fail, without saying anything that may be secret?"""

from __future__ import annotations

from pathlib import PurePath


def place(fault: BaseException) -> str:
    """Return the type of *fault* and where it was raised, as file and line; never its text.

    Of a group, the first fault in it is told.
    """
    while isinstance(fault, BaseExceptionGroup):
        fault = fault.exceptions[0]
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = (
        "nowhere"
        if trace is None
        else f"{PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
    )
    return f"{type(fault).__name__} at {where}"
