"""Schema of the chart's values, made of the gateway's own settings: ``python -m tests.deploy.helm_schema``.

The schema of the values is written by hand, but for ``$defs``: these are the gateway's own, so that a wrong
setting is refused before anything is installed. Run as a program, it rewrites them; a test compares them.
"""

from __future__ import annotations

import json
from typing import Any, Final

from gateway.app.config.settings import Settings
from tests.deploy.programs import ROOT

FILE: Final = ROOT / "helm" / "oscc-gateway" / "values.schema.json"
TAKEN: Final = (
    "Application", "AsteriskSection", "BusSection", "ClientSection", "LimitsSection", "LogSection",
    "PrivacySection", "RemoteNumbersSection", "SiteSection", "TracingSection",
)  # fmt: skip
CHART_SETS: Final = {
    "BusSection": {"url", "user", "password", "sentinel_user", "sentinel_password"},
    "ClientSection": {"host", "port", "certificate", "key"},
}
"""Settings that the chart itself gives."""
FROM_SECRETS: Final = {"secret"}
"""Settings that a variable may give, from a Secret, beside values without them."""
SAID_ELSEWHERE: Final = {"title", "default"}


def definitions() -> dict[str, Any]:
    """Return the gateway's settings as far as values may give them."""
    found = Settings.model_json_schema()["$defs"]
    return {name: _without(found[name], CHART_SETS.get(name, set())) for name in TAKEN}


def _without(definition: dict[str, Any], settings: set[str]) -> dict[str, Any]:
    kept = {key: value for key, value in definition.items() if key not in SAID_ELSEWHERE}
    if "required" in kept:
        kept["required"] = [name for name in kept["required"] if name not in FROM_SECRETS]
    if "properties" in kept:
        kept["properties"] = {
            name: {key: value for key, value in received.items() if key not in SAID_ELSEWHERE}
            for name, received in kept["properties"].items()
            if name not in settings
        }
    return kept


def fresh() -> str:
    """Return the schema with the definitions as they are now."""
    schema = json.loads(FILE.read_text("utf-8"))
    schema["$defs"] = definitions()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(fresh(), "utf-8")
