"""Settings of the simulated contact centre, its command-line options, and its clock.

There are two times: the centre's (``now_ms``), which may be scaled or manual, and the transport's
(``transport_s``, ``sleep``), which measures silence, intervals and freezes of links. A scaled clock changes
the centre's time only, since a gateway uses real seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from dataclasses import fields as fields_of
from typing import Final, Protocol

ALL_FEATURES: Final = (
    "Skills",
    "RoutingParameters",
    "PostProcessing.Start",
    "PostProcessing.Extend",
    "PostProcessing.Finish",
    "PostProcessing.SetAuto",
    "RemoteAgent",
    "LinkFencing",
    "RequestKeys",
)
"""All features of the page."""

WARM_UP_MAX_S: Final = 86_400
PORT_MAX: Final = 65_535

KEEP_ALIVE_S = 20
"""Keep-alive in the link's first message; a link that is silent for three times as long is dropped."""


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """All options. The same seed and settings make the same centre."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port."""
    control_port: int = 0
    """The control listener, on the loopback interface only."""
    tls: bool = False
    """Self-signed."""

    agents: int = 200
    queues: int = 20
    groups: int = 0
    """0: one for every 25 agents."""
    users: int = 10
    """Dashboard users; the first sees everything, the others a part of the teams."""
    all_see_everything: bool = False
    """Whether every Dashboard user sees what supervisor1 sees."""
    seed: int = 1
    password: str = "demo"  # noqa: S105 - a simulated account's
    locale_zone: str = "Europe/Berlin"
    """Its midnight resets the cumulative counters."""

    scale: float = 1.0
    """Factor of the centre's time."""
    interval_s: float = 1.0
    """Interval of readings of realtime elements, in the transport's time."""
    on_change: bool = False
    """Read after each change (every 50 ms) instead."""
    events_per_s: float | None = None
    """Element changes per second to cause in the whole centre; None: those of the contacts."""
    warm_up_s: float = 900.0
    """Simulated time before the start; 0: all agents have just come, and no contact waits."""
    start_paused: bool = False
    """No random events after the start until resumed."""

    extensions_version: str = "V2R1"
    contact_center_version: str = "V8R2"
    features: tuple[str, ...] = ALL_FEATURES

    session_life_s: int = 8 * 3600
    idle_timeout_s: int = 900
    """For RemoteAssistant sessions, 1..3600."""
    dashboard_idle_timeout_s: int = 0
    """0: never."""
    attach_within_s: int = 120
    after_contact_limit_s: int = 600
    """How long a number may stay routed after its session ended during a contact."""
    log_on_budget_per_s: float = 200.0
    """Further log-ons are refused with 503."""
    lock_out_tries: int = 5
    lock_out_s: int = 60

    country_code: str = "49"
    """Country of national numbers (0…)."""
    allowed_prefixes: tuple[str, ...] = ("+49", "+43", "+41", "+44", "+33", "+31", "+39", "+34", "+48", "+1")
    barred_prefixes: tuple[str, ...] = ("+49900", "+49137", "+49180", "+49118", "+1900", "+44909")

    link_buffer_bytes: int = 16 * 1024 * 1024
    """A link with more waiting bytes is closed as too slow."""

    def __post_init__(self) -> None:
        """Refuse impossible settings.

        Raises:
            ValueError: A number is out of its bounds.
        """
        events_per_s, ports = self.events_per_s or 0, (self.port, self.control_port)
        bounds = (
            (
                min(self.agents, self.queues, self.users) >= 1 and self.groups >= 0,
                "A contact centre has at least one agent, one queue and one user.",
            ),
            (
                1 <= self.idle_timeout_s <= 3600,
                "The idle timeout of a RemoteAssistant session is between 1 and 3600 s.",
            ),
            (self.interval_s > 0 and self.scale > 0, "Interval and scale are above 0."),
            (0 <= self.warm_up_s <= WARM_UP_MAX_S, f"The warm-up lasts between 0 and {WARM_UP_MAX_S:g} s."),
            (
                min(self.session_life_s, self.attach_within_s) >= 1,
                "A session lives for at least 1 s, and has at least 1 s to be attached.",
            ),
            (
                self.log_on_budget_per_s >= 0 and events_per_s >= 0,
                "Log-ons and events per second are not below 0.",
            ),
            (all(0 <= port <= PORT_MAX for port in ports), "A port is between 0 and 65535."),
        )
        for is_kept, text in bounds:
            if not is_kept:
                raise ValueError(text)

    @property
    def group_count(self) -> int:
        """Number of groups."""
        return self.groups or max(1, self.agents // 25)


_DEFAULTS: Final = asdict(SimulatorSettings()) | {"port": 8443}
_VALUES: Final[tuple[tuple[str, type, str], ...]] = (
    ("--host", str, "address to listen at"),
    ("--port", int, "port to listen at; 0: any free port"),
    ("--control-port", int, "control port, loopback only; 0: any"),
    ("--agents", int, "agents agent1…N"),
    ("--queues", int, "queues"),
    ("--groups", int, "groups of agents; 0: one for every 25 agents"),
    ("--users", int, "Dashboard users supervisor1…N"),
    ("--seed", int, "seed of the random numbers: the same seed makes the same centre"),
    ("--password", str, "password of all users"),
    ("--scale", float, "speed of the centre's clock; 1 is real time"),
    ("--interval-s", float, "seconds between realtime readings"),
    ("--events-per-s", float, "element changes a second in the whole centre"),
    ("--warm-up-s", float, "simulated seconds before it opens"),
    ("--idle-timeout-s", int, "seconds that a session lives without a device"),
    ("--attach-within-s", int, "seconds within which a session must be attached"),
    ("--session-life-s", int, "seconds that any session lives"),
    ("--log-on-budget-per-s", float, "log-ons per second that it accepts"),
    ("--extensions-version", str, "version of the server that it reports"),
    ("--contact-center-version", str, "version of the contact centre that it reports"),
)
_SWITCHES: Final = (
    ("--tls", "HTTPS with a self-signed certificate"),
    ("--all-see-everything", "show everything to all supervisors, not only to supervisor1"),
    ("--on-change", "send a reading at each change"),
    ("--start-paused", "start paused, until resumed by the control port"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's options to *parser*, each with its default."""
    for flag, kind, text in _VALUES:
        default = _DEFAULTS[flag.removeprefix("--").replace("-", "_")]
        shown = "as many as its agents make" if default is None else default
        parser.add_argument(flag, type=kind, default=default, help=f"{text}; default: {shown}")
    for flag, text in _SWITCHES:
        parser.add_argument(flag, action="store_true", help=f"{text}; default: off")


def settings_from(args: argparse.Namespace) -> SimulatorSettings:
    """Return the settings of the parsed options.

    Raises:
        ValueError: They contradict each other.
    """
    names = {each.name for each in fields_of(SimulatorSettings)}
    return SimulatorSettings(**{name: value for name, value in vars(args).items() if name in names})


class Clock(Protocol):
    """The simulator's only source of time."""

    def now_ms(self) -> int:
        """Return ms since 1970 UTC in the centre. Never goes back."""

    def transport_s(self) -> float:
        """Return monotonic seconds of the transport."""

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of the transport's time."""


class RealClock:
    """Real time, or *scale* times as fast."""

    def __init__(self, scale: float = 1.0) -> None:
        if scale <= 0:
            raise ValueError("a clock needs a scale above 0")
        self._scale = scale
        self._start_ms = time.time() * 1000  # noqa: TID251 - the simulator's own clock adapter
        self._start_s = self.transport_s()

    def now_ms(self) -> int:
        """Return the scaled wall clock."""
        return int(self._start_ms + (self.transport_s() - self._start_s) * 1000 * self._scale)

    def transport_s(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()  # noqa: TID251 - the simulator's own clock adapter

    async def sleep(self, seconds: float) -> None:
        """Wait in real seconds."""
        await asyncio.sleep(seconds)


class ManualClock:
    """Time advances only by :meth:`advance`. Both times are equal.

    Invariant: watchers were called for every slice of time before :meth:`advance` returns.
    """

    SLICE_MS = 250

    def __init__(self, start_ms: int = 1_760_000_000_000) -> None:
        self._now_ms = start_ms
        self._watchers: list[Callable[[], None]] = []
        self._moved = asyncio.Condition()

    def now_ms(self) -> int:
        """Return the present instant."""
        return self._now_ms

    def transport_s(self) -> float:
        """Return the same in seconds."""
        return self._now_ms / 1000

    async def sleep(self, seconds: float) -> None:
        """Return once a test advanced the clock by *seconds*."""
        due_ms = self._now_ms + seconds * 1000
        async with self._moved:
            await self._moved.wait_for(lambda: self._now_ms >= due_ms)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call *watcher* after each slice of advanced time."""
        self._watchers.append(watcher)

    async def advance(self, seconds: float) -> None:
        """Advance *seconds* in slices of at most 250 ms, so that no due event is skipped."""
        left_ms = round(seconds * 1000)
        while left_ms > 0:
            step_ms = min(left_ms, self.SLICE_MS)
            left_ms -= step_ms
            self.step(step_ms)
            async with self._moved:
                self._moved.notify_all()

    def step(self, step_ms: int) -> None:
        """Advance one slice and call the watchers; sleepers wake at the next :meth:`advance`."""
        self._now_ms += step_ms
        for watcher in self._watchers:
            watcher()
