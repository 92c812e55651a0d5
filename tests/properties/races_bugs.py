"""Which bugs must the races reveal?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

LIVE, SESSION, ERRORS = "core/session.py", "core/session.py", "domain/errors.py"
CALLS, ROSTER = "core/commands.py", "core/user_sessions.py"
NODE, ACCOUNT, OWNER = "runtime/node.py", "runtime/accounts.py", "runtime/owner.py"
ASKING, LINKED, ENDINGS = "runtime/subscriptions.py", "runtime/link_session.py", "runtime/log_off.py"


def bug(name: str, file: str, old: str, new: str, *, quick: bool = False) -> SeededBug:
    return SeededBug(name, file, old, new, "TestRaces", quick)


SEEDED = [
    # ---- once ----
    bug(
        "a command under way is begun again",
        CALLS,
        "if (running := self._in_flight.get(key)) is not None:",
        "if (running := self._in_flight.get(key)) is not None and not retry:",
        quick=True,
    ),
    bug(
        "what became of a command is not remembered",
        CALLS,
        "now + self._limits.keep_s)\n        return tuple",
        "now)\n        return tuple",
    ),
    bug(
        "the key alone says which command it is",
        CALLS,
        "return Done(done.outcome) if done.body_hash == body_hash else Reused()",
        "return Done(done.outcome)",
    ),
    # ---- told, and truly ----
    bug(
        "a result overtakes the state that it tells of",
        LIVE,
        "outcome_view(outcome)), after_state=True)",
        "outcome_view(outcome)), after_state=False)",
    ),
    bug(
        "an end overtakes the result that was told before it",
        LINKED,
        'for _ in ("execution", "phone"):',
        "for _ in ():",
    ),
    bug(
        "who will not come back is left without results",
        SESSION,
        "if self.live is not None and is_final(close.code):",
        "if False:",
    ),
    bug(
        "who is replaced is told too soon",
        ERRORS,
        " and code != CloseCode.REPLACED",
        "",
    ),
    # ---- revocation ----
    bug(
        "a scope that changes is not heeded",
        ROSTER,
        "rights=rights, scope=scope)",
        "rights=rights)",
    ),
    bug(
        "rights that change are not heeded",
        ROSTER,
        "rights=rights, scope=scope)",
        "scope=scope)",
    ),
    # ---- log-off, take-over, attach ----
    bug(
        "a log-off that did not get through is forgotten",
        "runtime/log_off.py",
        "        if not is_open:\n            return None\n",
        "        if True:\n            return None\n",
    ),
    bug(
        "nobody notes how a session ended",
        ENDINGS,
        "        self.note(ticket, reason, by)\n        self._exchange",
        "        return\n        self._exchange",
    ),
    bug(
        "a connection that is gone takes its successor along",
        NODE,
        "if user_state.feed.connections.get(ticket.handle) is connection:",
        "if ticket.handle in user_state.feed.connections:",
    ),
    bug(
        "a hello that waits for its seat outlives a later one",
        NODE,
        "if before is not None:  # it may wait for its seat, too",
        "if False:",
    ),
    bug(
        "an end that OSCC-E tells is told to nobody",
        OWNER,
        "        self.feed.learn(member.facts(reason, by), None)\n",
        "",
    ),
    bug(
        "what an end took out of sight stays out of sight",
        ASKING,
        "self._directory_known and self._user_sessions.scope == before",
        "self._directory_known",
    ),
]
