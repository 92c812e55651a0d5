"""Which metrics are there, and which values may their labels have? Writes docs/metrics.md from the code.

Without arguments it writes the page; with ``--check`` it writes nothing and fails when the page is stale.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final, NamedTuple, get_args

from gateway.app.metrics import ANSWERED, LINK_REFUSALS, LINK_STATES, UNAVAILABLE
from gateway.bus.sealing import DropReason
from gateway.core.session import Resumption
from gateway.domain.commands import Status
from gateway.domain.errors import CloseCode, EndReason, ErrorCode
from gateway.domain.model import Application
from gateway.domain.resources import Functions
from gateway.domain.upstream import Trouble
from gateway.edge.channel import LEFT, OK, PEER_CODES, PLATFORMS, REFUSED, Initiator
from gateway.edge.socket import FAILED
from gateway.protocol.codec import JSON, MSGPACK
from gateway.protocol.frames import COMMANDS
from gateway.runtime.ports import ENTRY_REFUSALS, WRITE_REFUSALS
from gateway.telemetry import (
    EVENTS,
    HOPS,
    MOVE_REASONS,
    OTHER,
    PREFIX,
    URGENCY_NAMES,
    BackgroundPart,
    GapDetector,
    GiftReason,
    ResyncReason,
    TakeoverKind,
    Telemetry,
)

PAGE: Final = Path(__file__).parents[1] / "metrics.md"
ANY: Final = "*"
"""In a set of values: what the configuration or the machine says, and no client."""

_ERRORS: Final = sorted(ErrorCode)
_APPLICATIONS: Final = tuple(Application)
VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "bus_gaps.detector": get_args(GapDetector),
    "bus_unopened.reason": tuple(DropReason),
    "bus_refused.reason": tuple(sorted(ENTRY_REFUSALS | WRITE_REFUSALS)),
    "budget_wait_seconds.class": tuple(URGENCY_NAMES.values()),
    "build_info.loop": (ANY,),
    "build_info.python": (ANY,),
    "build_info.revision": (ANY,),
    "build_info.version": (ANY,),
    "closes.code": (*(str(code.value) for code in CloseCode), *map(str, sorted(PEER_CODES)), OTHER),
    "closes.initiator": get_args(Initiator),
    "command_seconds.kind": tuple(COMMANDS),
    "commands.kind": tuple(COMMANDS),
    "asterisk_waiting.site": (ANY,),
    "asterisk_waiting.what": ("actions", "events"),
    "commands.status": (*Status, FAILED),
    "connections.application": _APPLICATIONS,
    "connections.codec": (JSON.name, MSGPACK.name),
    "connections.platform": PLATFORMS,
    "event_latency_seconds.hop": HOPS,
    "faults.part": get_args(BackgroundPart),
    "fds.kind": ("open", "limit", "reserved"),
    "handshakes.result": (OK, LEFT, *sorted({*_ERRORS, *REFUSED.values()})),
    "link_opens.result": ("ok", *LINK_REFUSALS, "unavailable"),
    "link_refused.reason": LINK_REFUSALS,
    "upstream_failures.cause": get_args(Trouble),
    "links.state": LINK_STATES,
    "log_ons.application": _APPLICATIONS,
    "log_ons.result": ("ok", *_ERRORS),
    "ownership_moves.reason": tuple(sorted({*get_args(GiftReason), *MOVE_REASONS.values()})),
    "registry_size.name": (
        *(
            "households",
            "links_waiting",
            "links_opening",
            "phones_waiting",
            "commands_held",
            "endings",
            "messages",
            "message_bytes",
            "bundled",
            "questions",
            "batches",
            "peers",
            "callers",
            "keys",
        ),
        *("log_ons_waiting", "log_on_addresses", "log_on_appointments", "log_on_names"),
        "log_on_reservations",
        "requesters",
    ),
    "reload_failed.what": ("authorities", "certificate", "keys", "notices"),
    "resumes.result": get_args(Resumption),
    "resyncs.reason": get_args(ResyncReason),
    "session_ends.reason": tuple(EndReason),
    "sessions_attached.application": _APPLICATIONS,
    "site_function_up.function": tuple(field.name for field in fields(Functions)),
    "site_function_up.site": (ANY,),
    "site_log_offs.result": (ANSWERED, UNAVAILABLE),
    "site_log_offs.site": (ANY,),
    "site_log_ons.result": (ANSWERED, UNAVAILABLE),
    "site_log_ons.site": (ANY,),
    "takeovers.kind": get_args(TakeoverKind),
    "upstream_events.type": tuple(EVENTS.values()),
}
"""Metric and label → the values that the label may have there."""
_LOG_ONS: Final = (
    f"`{ANSWERED}`, refusals included; `{UNAVAILABLE}`: no answer, or one that concerns all users"
)
_HANDSHAKES: Final = (
    f"`{OK}`: welcomed; an [error code](protocol.md#error-codes): refused before the upgrade; "
    f"the name of a [close code](protocol.md#close-codes): after it; `{LEFT}`: closed before either"
)
_LOG_OFFS: Final = (
    f"`{ANSWERED}`, also when it follows after the contact; `{UNAVAILABLE}`: no answer, or refused"
)
_SAID: Final[Mapping[str, str]] = {
    "build_info.loop": "the event loop's package",
    "build_info.python": "Python's version",
    "build_info.revision": "the commit that it was built from; `source`: it runs from a checkout",
    "build_info.version": "the gateway's version",
    "closes.code": "a [close code](protocol.md#close-codes), a code of RFC 6455, or `other`",
    "handshakes.result": _HANDSHAKES,
    "log_ons.result": "`ok`, or an [error code](protocol.md#error-codes)",
    "site_function_up.site": "a site's id, as configured",
    "asterisk_waiting.site": "a site's id, as configured",
    "site_log_offs.result": _LOG_OFFS,
    "site_log_offs.site": "a site's id, as configured",
    "site_log_ons.result": _LOG_ONS,
    "site_log_ons.site": "a site's id, as configured",
}
"""Values that are better described than listed."""
_HEAD: Final = f"""\
# Metrics

Written by `make diagrams` from the code; do not edit. `/metrics` on the ops listener shows them;
[operations](operations.md) lists normal values, the [runbook](runbook.md) says what to do about alerts.

These metrics have the prefix `{PREFIX}_` and base units. The values of a label are a small closed set that
clients cannot extend. No value names a person. The client library adds `process_*`, without a prefix: CPU,
memory, descriptors and start of the process.

| metric | type | labels | meaning |
|---|---|---|---|"""


class Measured(NamedTuple):
    """One metric. *name* is without prefix, a counter's without ``_total``."""

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def shown(self) -> str:
        """The name by which Prometheus knows it, without prefix."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def measured() -> Iterator[Measured]:
    """Return every metric, in the order of the code."""
    telemetry = Telemetry()
    for family in telemetry.registry.collect():
        name = family.name.removeprefix(f"{PREFIX}_")
        yield Measured(name, family.type, telemetry.labels[name], family.documentation)


def render(metrics: Iterable[Measured]) -> str:
    """Return the page.

    Raises:
        KeyError: A label's values are not known here.
    """
    lines = [_HEAD]
    for one in metrics:
        labels = "<br>".join(f"`{label}`: {_values(f'{one.name}.{label}')}" for label in one.labels)
        lines.append(f"| `{one.shown}` | {one.kind} | {labels or '–'} | {one.text} |")
    return "\n".join(lines) + "\n"


def _values(place: str) -> str:
    values = VALUES[place]
    return _SAID.get(place) or ", ".join(f"`{value}`" for value in values)


def main(arguments: list[str]) -> int:
    """Write the page, or check it. Returns the exit code."""
    page = render(measured())
    if arguments == ["--check"]:
        present = PAGE.read_text("utf-8") if PAGE.exists() else ""
        if page != present:
            print("docs/metrics.md: stale; run make diagrams")
        return int(page != present)
    PAGE.write_text(page, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
