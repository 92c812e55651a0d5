"""All tests of a process share its browsers, and therefore one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import pytest_asyncio

TEST_S = 300
"""How long a test may take on a machine with much else to do; by itself one takes seconds."""
_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in one loop, and be patient with them."""
    for item in items:
        if item.path.parent == _HERE and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            item.add_marker(pytest.mark.timeout(TEST_S))


if find_spec("playwright") is not None:
    from tests.web.stage import browsers_kept

    @pytest_asyncio.fixture(scope="session", loop_scope="session", autouse=True)
    async def _one_browser() -> AsyncIterator[None]:
        """Keep what the first test starts for those that follow."""
        async with browsers_kept():
            yield
