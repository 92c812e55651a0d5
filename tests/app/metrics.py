"""What a node's telemetry says, as tests compare it."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from gateway.telemetry import Telemetry


def own_lines(telemetry: Telemetry) -> list[bytes]:
    """Return the lines of metrics but those of the process, which move by themselves."""
    return [line for line in telemetry.render().splitlines() if not line.startswith(b"process_")]


def values_of(telemetry: Telemetry) -> dict[str, float]:
    """Return each value by its metric's name, without the prefix, and the values of its labels."""
    return {
        sample.name.removeprefix("oscc_gateway_") + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(telemetry.render().decode())
        for sample in family.samples
    }
