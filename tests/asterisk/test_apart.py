"""The adapter for an Asterisk and the one for an OSCC-E Server do not see each other."""

from __future__ import annotations

from tests.architecture.house import imports, tracked

UPSTREAM = "gateway.upstream"
ASTERISK = "gateway.upstream.asterisk"


def test_neither_adapter_imports_the_other() -> None:
    graph = imports(tracked("gateway/"))
    asterisk = {module for module in graph if module.startswith(ASTERISK)}
    others = {module for module in graph if module.startswith(UPSTREAM)} - asterisk - {UPSTREAM}
    assert asterisk
    assert others
    assert not set().union(*(graph[module] for module in asterisk)) & others
    assert not set().union(*(graph[module] for module in others)) & asterisk
