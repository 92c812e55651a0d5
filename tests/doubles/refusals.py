"""What is refused with a code that clients know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.domain.errors import ErrorCode, GatewayError


@contextmanager
def refused_with(code: ErrorCode) -> Iterator[pytest.ExceptionInfo[GatewayError]]:
    """Hold that the block is refused with *code*; yields the error."""
    with pytest.raises(GatewayError) as refused:
        yield refused
    assert refused.value.code is code
