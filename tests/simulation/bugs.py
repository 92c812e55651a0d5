"""Which bugs of a cluster must its simulation find?

Their killer is the law that they break first, as a rule. Those that were there, and are mended, come first.
Those of :data:`STALLED` are found among schedules of nodes that stop and of clocks that are set, those
of :data:`ORPHANED` among schedules of nodes that die.
"""

from __future__ import annotations

from typing import Final

from tests.properties.seeded import SeededBug

BUGS: Final = [
    # ---- what was there ----
    SeededBug(
        "a cancellation that a task group swallowed is forgotten",
        "runtime/link_session.py",
        "        heed_cancellation()\n",
        "",
        "nobody is busy for ever",
    ),
    SeededBug(
        "what a follower wrote as an owner shows that a session is accepted",
        "runtime/follower.py",
        "if is_read and facts is not None",
        "if facts is not None",
        "epochs never go back",
    ),
    SeededBug(
        "a connection that was renewed leaves the bus as healthy as it was",
        "core/bus_health.py",
        '        """\n        self._good_at = -math.inf\n',
        '        """\n',
        "trouble of Redis costs no link",
    ),
    SeededBug(
        "a word of presence without an answer counts as unsaid",
        "runtime/subscriptions.py",
        "            member.told_present = None\n            self._unheard",
        "            self._unheard",
        "all is well in the end",
    ),
    # ---- what might be ----
    SeededBug(
        "who gives does not wait for what is in flight",
        "runtime/command_execution.py",
        "                while self._calls.in_flight:\n",
        "                while False:\n",
        "without a fault every outcome is known",
    ),
    SeededBug(
        "a new owner takes commands of before for its own",
        "core/commands.py",
        "            self._epoch = self._since = epoch\n",
        "            self._epoch = epoch\n",
        "commands are sent once",
    ),
    SeededBug(
        "a command that is sent again is executed whoever may have executed it",
        "core/commands.py",
        "if retry and not self._remembers(stream_epoch, now):",
        "if False:",
        "commands are sent once",
    ),
    SeededBug(
        "an epoch is read before its questions are answered",
        "runtime/sharing.py",
        "        if not self._is_lit:\n            return self._unlit()\n",
        "",
        "nobody is shown less than before",
    ),
    SeededBug(
        "somebody's silence is taken for his whatever the bus is worth",
        "runtime/remote_owner.py",
        "elif exchange.machine.is_healthy_for(now) >= HEALTHY_S:",
        "else:",
        "trouble of Redis costs no link",
    ),
    SeededBug(
        "a log-off is told to nobody",
        "runtime/log_off.py",
        "        self._exchange.send(Control(), SessionOver(ticket, reason, by))\n        left_s =",
        "        return\n        left_s =",
        "who logged off is not served",
    ),
    SeededBug(
        "interest never ends",
        "runtime/sharing.py",
        "if now - at > INTEREST_S]",
        "if False]",
        "interest ends",
    ),
    SeededBug(
        "a gap is taken for what follows",
        "core/ledger.py",
        "elif delta.epoch != self.position.epoch or delta.after > self.position.seq:",
        "elif delta.epoch != self.position.epoch:",
        "what is shown as live is fresh",
    ),
    SeededBug(
        "who followed is followed for ever",
        "runtime/user_state.py",
        "        elif now - self._empty_since >= UNFOLLOW_S:\n            self.stop()\n",
        "",
        "nobody is followed for nothing",
    ),
    SeededBug(
        "a deaf owner keeps his user",
        "runtime/remote_owner.py",
        "            spawn(tasks, self._take())\n",
        "            pass\n",
        "all is well in the end",
    ),
    SeededBug(
        "a drained node gives nobody",
        "runtime/handover.py",
        '        if self._world.is_draining():\n            return "drain"\n',
        "",
        "without a fault there is a link",
        quick=True,
    ),
    SeededBug(
        "a node remembers whose each connection was",
        "runtime/node.py",
        "ticket = self._tickets.pop(connection, None)",
        "ticket = self._tickets.get(connection, None)",
        "memory is back at its baseline",
        quick=True,
    ),
    SeededBug(
        "a log-off that got no answer is not tried again",
        "runtime/log_off.py",
        "        if not is_open:\n            return None\n",
        "        if True:\n            return None\n",
        "who logged off has no session",
    ),
]

STALLED: Final = [
    # ---- what was there ----
    SeededBug(
        "a command that comes again is refused by a node whose clock is behind",
        "core/command_checks.py",
        "    if retry:\n        return wall_ms if is_too_far else expires_at_ms\n",
        "",
        "what is rejected was not executed",
        quick=True,
    ),
    SeededBug(
        "with its first word a new link makes new what an older one told",
        "runtime/link_session.py",
        "is_read = mirror.live and self._machine.state is LinkState.LIVE and not self._is_old",
        "is_read = True",
        "what is shown was true as of the instant that is told",
    ),
    # ---- what might be ----
    SeededBug(
        "how old data is depends on the wall clocks of two nodes",
        "runtime/follower.py",
        "    return seen_s if age_s <= seen_s <= age_s + PLAUSIBLE_S else max(0.0, age_s)\n",
        "    return (wall_ms - as_of_ms) / 1000\n",
        "what is shown was true as of the instant that is told",
    ),
    SeededBug(
        "a deadline crosses from node to node as an instant",
        "runtime/cluster_receiver.py",
        "        if asked.left_ms is not None:  # the deadline by this node's clock\n",
        "        if False:\n",
        "commands run before their deadline",
    ),
]

ORPHANED: Final = [
    SeededBug(
        "who was at a node that died is present for ever",
        "runtime/owner.py",
        "            self.leave(member.handle, member.node)\n        for member in self.user_sessions.l",
        "            pass\n        for member in self.user_sessions.l",
        "sessions of a dead node are served or end",
        quick=True,
    ),
]
