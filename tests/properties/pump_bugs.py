"""Which bugs must random schedules of the pump reveal?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

PUMP = "edge/scheduler.py"


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
    bug("what is asked for again is kept again", "if tick < before:", "if True:"),
    bug(
        "an earlier time leaves the later one on the wheel",
        "            del self._wheel[before][served]\n",
        "            pass\n",
        quick=True,
    ),
    bug(
        "a pace that moves takes a deadline of the same tick along",
        "if before not in {NEVER, served.near_tick, served.far_tick}:",
        "if before != NEVER:",
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
    bug("of all whose time is one tick the first comes", "            waiting[served] = None\n", ""),
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
    bug(
        "a fault ends all",
        "except Exception as fault:  # noqa: BLE001 - the outermost handler: a fault of one",
        "except ValueError as fault:  # a fault of one",
    ),
    bug("at the end sockets are left open", "            socket.abandon()\n", "            pass\n"),
    bug(
        "at the end a fault of one leaves others open",
        "except Exception as fault:  # noqa: BLE001 - the other sockets",
        "except ValueError as fault:  # the other sockets",
    ),
    bug("it sleeps for half a tick at least", "_WAIT_MIN_S: Final = 0.001", "_WAIT_MIN_S: Final = 0.0025"),
]
