"""What goes into a support bundle? What helps to find a fault, and nothing that tells of a person."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import gateway
from gateway.app.closes import Closes
from gateway.app.config import Configuration
from gateway.app.config_names import PREFIX
from gateway.app.config_sections import Settings
from gateway.app.config_shown import effective
from gateway.protocol.envelopes import NodeRecord
from gateway.protocol.schemas import API_VERSION

FORMAT: Final = 1
KEEP_S: Final = 30 * 86_400
"""After this time a bundle is to be deleted, as it says itself."""
CLOSES: Final = 1_000
SESSIONS: Final = 200
"""Of the last connections that ended: how many are told by their reason, how many by their line."""
UNSTATED: Final = "support; nobody stated more"
_PACKAGES: Final = (
    "aiohttp",
    "cryptography",
    "hiredis",
    "msgpack",
    "msgspec",
    "phonenumbers",
    "prometheus-client",
    "pydantic",
    "redis",
    "structlog",
    "uvloop",
)
_OF_CLOSES: Final = ("at_ms", "initiator", "close_code", "close_reason", "application", "lasted_s")

Bundle = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BundleParts:
    """What a bundle is made of. *render* writes the metrics, *nodes* returns those that live, own first."""

    settings: Settings
    closes: Closes
    render: Callable[[], bytes]
    nodes: Callable[[], tuple[NodeRecord, ...]]
    wall_ms: Callable[[], int]
    environ: Mapping[str, str]


def make_bundle(parts: BundleParts, purpose: str | None) -> Bundle:
    """Return a bundle as it would be written now."""
    made_at_ms = parts.wall_ms()
    nodes = parts.nodes()
    return {
        "bundle": {
            "format": FORMAT,
            "purpose": purpose or UNSTATED,
            "node": nodes[0].node,
            "made_at_ms": made_at_ms,
            "expires_at_ms": made_at_ms + KEEP_S * 1000,
            "handling": "Users are keyed hashes, addresses are networks. Delete it when its purpose is "
            "served, at the latest when it expires. The gateway sends it nowhere.",
        },
        "environment": _environment(parts.environ),
        "versions": _versions(),
        "configuration": effective(Configuration(parts.settings, {})).splitlines(),
        "nodes": [{**node._asdict(), "sealing_keys": node.sealing_keys.split()} for node in nodes],
        "metrics": parts.render().decode().splitlines(),
        "closes": [{name: line[name] for name in _OF_CLOSES} for line in parts.closes.last(CLOSES)],
        "sessions": parts.closes.last(SESSIONS),
    }


def _environment(environ: Mapping[str, str]) -> Bundle:
    """Return where the node runs. Of variables their names only: some are secrets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "open_files_soft": soft,
        "open_files_hard": hard,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "variables": sorted(name for name in environ if name.upper().startswith(f"{PREFIX}_")),
    }


def _versions() -> dict[str, str | None]:
    return {
        "oscc-gateway": gateway.__version__,
        "protocol": API_VERSION,
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
