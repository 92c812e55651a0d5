"""OSCC gateway: one authenticated link per user, mirrored live to thin clients.

Floors, from the top: app, client, edge | bus | upstream | simulator, runtime, telemetry, core,
protocol, domain. Imports only point down; ``docs/architecture.md`` explains why.
"""

from pathlib import Path

__version__ = "1.0.0rc1"


def _revision() -> str:
    """Return the commit that this package was built from; ``source`` when it runs from a checkout."""
    try:
        return (Path(__file__).parent / "revision.txt").read_text("ascii").strip() or "source"
    except OSError:
        return "source"


__revision__ = _revision()
