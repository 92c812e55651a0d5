"""Which bugs must random schedules of the pump reveal?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

PUMP = "edge/pump.py"


def bug(name: str, old: str, new: str, *, quick: bool = False) -> SeededBug:
    return SeededBug(name, PUMP, old, new, "TestTurning", quick)


SEEDED = [
    bug(
        "a time is rounded down",
        "math.ceil(when / TICK_S - _ROUNDING)",
        "math.floor(when / TICK_S)",
        quick=True,
    ),
    bug("a time is a tick late", "math.ceil(when / TICK_S - _ROUNDING)", "math.ceil(when / TICK_S) + 1"),
    bug("a deadline is rounded down", "-(-tick // FAR_TICKS) * FAR_TICKS", "tick // FAR_TICKS * FAR_TICKS"),
    bug("there is one kind of time", "if when - self.clock.now() < NEAR_S:", "if True:"),
    bug(
        "a deadline that is asked for again is kept again",
        "            if served.far_tick <= tick:\n                return\n",
        "",
    ),
    bug(
        "a pace that is asked for again is kept again",
        "            if served.near_tick <= tick:\n                return\n",
        "",
    ),
    bug(
        "a pace that came is waited for",
        "                    served.near_tick = NEVER\n",
        "                    pass\n",
    ),
    bug(
        "a deadline that came is waited for",
        "                    served.far_tick = NEVER\n",
        "                    pass\n",
    ),
    bug("of all whose time is one tick the first comes", "            waiting.append(served)\n", ""),
    bug(
        "the pump sleeps on",
        "        if tick < self._planned:\n            self._wake.set()\n",
        "",
    ),
    bug("many wishes are many turns", "if not served.is_ready:", "if True:"),
    bug("a turn is the last", "            served.is_ready = False\n", ""),
    bug("who came last is first", "for served in batch:", "for served in reversed(batch):"),
    bug(
        "who is made ready in a turn goes next",
        "batch, self._ready = self._ready, []",
        "batch = self._ready",
    ),
    bug("a fault is nobody's", "                served.fail(fault)\n", "                pass\n"),
    bug("a fault ends all", "except Exception as fault:", "except ValueError as fault:"),
    bug("at the end sockets are left open", "                socket.abandon()\n", "                pass\n"),
]
