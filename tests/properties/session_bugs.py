"""Which bugs must the session's property find?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

SESSION, LIVE, OUTBOX = "core/session.py", "core/session.py", "core/outbox.py"
DISCIPLINE, HEARTBEAT, VIEW = "core/rate_limits.py", "core/link.py", "core/view.py"
ERRORS = "domain/errors.py"
KILLER = "TestConnections"
MAY = "(facts.scope, facts.rights) != (self.facts.scope, self.facts.rights)"


def bug(name: str, file: str, old: str, new: str, *, quick: bool = False) -> SeededBug:
    return SeededBug(name, file, old, new, KILLER, quick)


SEEDED = [
    bug(
        "a result overtakes the state that it tells of",
        LIVE,
        "outcome_view(outcome)), after_state=True)",
        "outcome_view(outcome)), after_state=False)",
        quick=True,
    ),
    bug(
        "frames are served after the close",
        SESSION,
        "if self.state is State.CLOSING:\n            return ()",
        "if False:\n            return ()",
    ),
    bug(
        "frames leave after the bye",
        SESSION,
        "            taken = self.live.outbox.take_last(now)\n            self.release()\n",
        "            taken = self.live.outbox.take_last(now)\n",
    ),
    bug(
        "a phone that is closed is told of the world",
        SESSION,
        "taken = self.live.outbox.take_last(now)",
        "taken = self.live.take(now, wall_ms, health)",
    ),
    bug(
        "a scope that shrinks at the close is not heeded",
        SESSION,
        "() if self.live is None else self._run(self.live.learned(facts))",
        "self._run(self.live.learned(facts)) if self._is_live(self.live) else ()",
    ),
    bug(
        "a second hello is taken",
        SESSION,
        'if self._greeting is None or not self._move("hello"):',
        'if self._greeting is None or (not self._move("hello") and False):',
    ),
    bug(
        "a phone that never says hello is waited for",
        SESSION,
        "now >= self._greeting.by:",
        "now >= self._greeting.by + 60:",
    ),
    bug(
        "a bad frame before welcome is forgiven",
        SESSION,
        "if self.live is None:\n            return self._close(Close(CloseCode.PROTOCOL_ERROR, bad.reason))",
        "if self.live is None:\n            return ()",
    ),
    bug(
        "bad frames are not counted",
        SESSION,
        "if self._kept_record().error(now, self._limits) is Ruling.CLOSE:",
        "if False:",
    ),
    bug(
        "something stands between welcome and changes",
        OUTBOX,
        "            if self._owed:",
        "            if False:",
    ),
    bug(
        "one more control frame may wait",
        OUTBOX,
        "len(self._control) >= CONTROL_MAX",
        "len(self._control) > CONTROL_MAX",
    ),
    bug("the pace is not kept", OUTBOX, "self.pace.due_at(now) <= now)", "True)"),
    bug("results free no place", LIVE, "        in_flight.remove(frame_id)\n", ""),
    bug(
        "any number of commands is in flight",
        LIVE,
        "if len(self._in_flight) >= self._limits",
        "if False and self._limits",
    ),
    bug("a new scope is not looked at", LIVE, f"if {MAY}:", "if False:"),
    bug("a new right begins no stream", LIVE, f"if {MAY}:", "if facts.scope != self.facts.scope:"),
    bug(
        "who will not come back is left without results",
        SESSION,
        "if self.live is not None and is_final(close.code):",
        "if False:",
    ),
    bug(
        "a phone that is closed is told of the world before what nobody knows",
        LIVE,
        "self.post(frames.Result(frame_id, outcome_view(Outcome(Status.UNKNOWN, lost))))",
        "self._result(frame_id, Outcome(Status.UNKNOWN, lost))",
    ),
    bug("who is replaced is told too soon", ERRORS, " and code != CloseCode.REPLACED", ""),
    bug(
        "rights stay as they were", LIVE, "        self.facts = facts\n        return ()", "        return ()"
    ),
    bug(
        "a new scope forgets what is followed",
        LIVE,
        "topics = self.outbox.view.topics",
        "topics = DEFAULT_TOPICS[facts.application]",
    ),
    bug("an ended session lives on", LIVE, "if facts.end is not None:", "if False:"),
    bug("resets cost nothing", LIVE, "if now < self._resync_at:", "if False:"),
    bug(
        "the bus may fail in silence",
        LIVE,
        "self._told_upstream != health.upstream or self._told_bus != health.bus",
        "self._told_upstream != health.upstream",
    ),
    bug(
        "a frame is no answer to a ping",
        HEARTBEAT,
        '"""Note that a frame came."""\n        self._waiting_since = None',
        '"""Note that a frame came."""',
    ),
    bug(
        "a newer ping excuses an older one",
        HEARTBEAT,
        "        if self._waiting_since is None:\n            self._waiting_since = now",
        "        self._waiting_since = now",
    ),
    bug(
        "pings are never due",
        HEARTBEAT,
        "return now >= self._asked_at + self._rhythm.every_s or (self._is_asked and now >= self._due_at)",
        "return False",
    ),
    bug("dropped frames are told of each time", DISCIPLINE, "now - self._told_at < _TELL_EVERY_S", "False"),
    bug("a flood is dropped for ever", DISCIPLINE, "if self._dropped > limits.dropped_max:", "if False:"),
    bug(
        "a single key may be anybody's",
        VIEW,
        "if parsed is None or parsed[1] not in scope.of(parsed[0]):",
        "if parsed is None:",
    ),
]
