"""Version and features that the simulator reports.

A fault may change them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gateway.simulator.errors import Refused
from gateway.simulator.model import Json
from gateway.simulator.settings import ALL_FEATURES, SimulatorSettings


@dataclass(slots=True)
class About:
    """Versions and features, as offered and as obeyed."""

    extensions_version: str = "V2R1"
    contact_center_version: str = "V8R2"
    features: set[str] = field(default_factory=lambda: set(ALL_FEATURES))

    def need(self, feature: str) -> None:
        """Go on only with *feature*.

        Raises:
            Refused: ``Unsupported``.
        """
        if feature not in self.features:
            raise Refused("Unsupported")

    def as_json(self) -> Json:
        """Return the answer of ``GET /oscce/v1/about``; features in the page's order."""
        known = [feature for feature in ALL_FEATURES if feature in self.features]
        return {
            "Product": "OSCC-E",
            "ExtensionsVersion": self.extensions_version,
            "ContactCenterVersion": self.contact_center_version,
            "Protocol": 1,
            "Features": known + sorted(self.features.difference(ALL_FEATURES)),
        }


def about_of(settings: SimulatorSettings) -> About:
    """Return what the settings say."""
    return About(settings.extensions_version, settings.contact_center_version, set(settings.features))
