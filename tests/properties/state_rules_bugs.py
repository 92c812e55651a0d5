"""Which bugs must the state rules reveal?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

RULES, CENTRE = "simulator/routing.py", "simulator/contact_center.py"
COMPOSE, STEADY, AGENTS = "core/compose.py", "domain/resources.py", "upstream/oscce/resources.py"
COMMANDS, EXECUTION = "upstream/oscce/commands.py", "runtime/command_execution.py"


def bug(name: str, file: str, old: str, new: str, *, quick: bool = False) -> SeededBug:
    return SeededBug(name, file, old, new, "TestStateRules", quick)


SEEDED = [
    # ---- the server's rules ----
    bug(
        "the present state asked for clears nothing",
        RULES,
        '    agent.pending = None\n    return "Applied"',
        '    return "Applied"',
        quick=True,
    ),
    bug(
        "the first pending state stays",
        RULES,
        "agent.pending = Pending(target",
        "agent.pending = agent.pending or Pending(target",
    ),
    bug(
        "logging off now waits for the contact's end",
        RULES,
        'if target == "LoggedOff" and when == "Now":',
        'if target == "LoggedOff" and when == "Never":',
    ),
    bug(
        "post-processing forgets what is pending",
        RULES,
        "    agent.last_contact = agent.unprocessed = None\n    agent.post = Post",
        "    agent.last_contact = agent.unprocessed = agent.pending = None\n    agent.post = Post",
    ),
    bug(
        "what is pending is not entered after post-processing",
        RULES,
        "    if not agent.contacts:\n        settle(agent, now_ms)",
        "    pass",
    ),
    bug(
        "a contact that only rang takes post-processing away",
        RULES,
        "    talked = agent.unprocessed\n",
        "    talked = agent.unprocessed if contact.answered_ms is not None else None\n",
    ),
    bug(
        "a state that is pending already is as good as a state",
        RULES,
        "    if not agent.handling:\n        _enter",
        "    if not agent.handling or agent.pending is not None:\n        _enter",
    ),
    bug("what is unchanged is told", CENTRE, 'if verdict == "Applied" or (', "if agent.logged_on or ("),
    bug(
        "post-processing has no end",
        CENTRE,
        "self.rules.plan(agent.post.ends_ms, self._post_processing_due(agent))",
        "pass",
    ),
    bug(
        "an answer comes before its effect",
        "simulator/links.py",
        "                outer.told(effect)\n                self._send(effect)",
        "                self.center.changes = effect",
    ),
    # ---- the gateway ----
    bug(
        "a result leaves before the state that it caused",
        "core/outbox.py",
        "if waiting.after_state and not state_sent:",
        "if False:",
    ),
    bug(
        "the end of post-processing is shown by the server's clock",
        COMPOSE,
        "ends_at_ms=_shift(now.post_processing.ends_at_ms, offset_ms)",
        "ends_at_ms=now.post_processing.ends_at_ms",
    ),
    bug(
        "an end that was moved passes for jitter",
        STEADY,
        "_kept(before.ends_at_ms, post.ends_at_ms)",
        "before.ends_at_ms",
    ),
    bug(
        "who is absent is unavailable",
        COMPOSE,
        "routing_state=RoutingState.LOGGED_OFF",
        "routing_state=RoutingState.UNAVAILABLE",
    ),
    bug(
        "who was removed stays as he was",
        "core/assembly.py",
        "for address in self._absent(query, reading):",
        "for address in ():",
    ),
    bug(
        "whoever made it pending, it was oneself",
        AGENTS,
        "pending_by=_actor(told.pending_by)",
        'pending_by=None if told.pending_by is None else "self"',
    ),
    bug(
        "nobody knows what follows post-processing",
        AGENTS,
        "next_state=_routing_state(told.next_state)",
        "next_state=None",
    ),
    bug("everything is asked for now", COMMANDS, '"When": WHENS[command.when]', '"When": "Now"'),
    bug("unchanged is applied", COMMANDS, 'Executed("unchanged", told.version)', 'Executed("applied")'),
    bug(
        "an extension is asked for by the gateway's clock",
        EXECUTION,
        "until_ms=command.until_ms - offset_ms",
        "until_ms=command.until_ms",
    ),
    bug(
        "a limit is told by the server's clock",
        EXECUTION,
        'error.details["until_ms"] = until_ms + offset_ms',
        'error.details["until_ms"] = until_ms',
    ),
    bug(
        "a deadline is told by the gateway's clock",
        EXECUTION,
        "call.key, call.deadline_ms - offset_ms)",
        "call.key, call.deadline_ms)",
    ),
]
