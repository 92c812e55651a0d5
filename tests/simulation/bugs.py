"""Which bugs of a cluster must its simulation find?

Half of them were there: each was found by a seed and is mended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.properties.seeded import SeededBug


@dataclass(frozen=True, slots=True)
class Bug(SeededBug):
    """A bug, and within how many schedules it is found."""

    within: int = 400


BUGS: Final = [
    # ---- what was there ----
    Bug(
        "a cancellation that a task group swallowed is forgotten",
        "runtime/linked.py",
        "        heed_cancellation()\n",
        "",
        "nobody is busy for ever",
    ),
    Bug(
        "who was replaced goes on to speak for the user",
        "runtime/owner.py",
        "return 0 if self._stopped or (self._linked is None and self.lease.is_overtaken) else self.epoch",
        "return 0 if self._stopped else self.epoch",
        "epochs never go back",
    ),
    Bug(
        "what a follower wrote as an owner shows that a session is accepted",
        "runtime/follower.py",
        "if is_read and facts is not None",
        "if facts is not None",
        "epochs never go back",
    ),
    Bug(
        "a follower takes the epoch of the lease for the highest it saw",
        "runtime/follower.py",
        "Follow(max(grant.token, feed.ledger.position.epoch), now",
        "Follow(grant.token, now",
        "what is shown as live is fresh",
        within=4000,
    ),
    Bug(
        "a command that is sent again is called rejected when nobody is asked",
        "runtime/role.py",
        "    if call.retry:\n        message",
        "    if False:\n        message",
        "what is rejected was not executed",
    ),
    Bug(
        "a follower asks without end when a time is rounded down",
        "core/follower.py",
        "now >= self._lower_since + LOWER_S",
        "now - self._lower_since >= LOWER_S",
        "nobody is busy for ever",
    ),
    Bug(
        "a connection that was renewed leaves the bus as healthy as it was",
        "core/bus_state.py",
        '        """\n        self._good_at = -math.inf\n',
        '        """\n',
        "trouble of Redis costs no link",
    ),
    Bug(
        "a word of presence without an answer counts as unsaid",
        "runtime/asking.py",
        "            self._ask_later()\n            return None\n",
        "            self._ask_later()\n            return told\n",
        "all is well in the end",
    ),
    Bug(
        "what is of the epoch before is called live",
        "runtime/follower.py",
        "(self._is_unsure or is_behind)",
        "self._is_unsure",
        "what is shown as live is fresh",
    ),
    # ---- what might be ----
    Bug(
        "who gives does not wait for what is in flight",
        "runtime/execution.py",
        "                while self._calls.in_flight:\n",
        "                while False:\n",
        "without a fault every outcome is known",
    ),
    Bug(
        "a command without an answer is sent once more",
        "runtime/sending.py",
        "(TimeoutError, GatewayError):\n            return _unknown(ErrorCode.UPSTREAM_TIMEOUT)\n",
        "(TimeoutError, GatewayError):\n            return None\n",
        "what is rejected was not executed",
        quick=True,
    ),
    Bug(
        "a new owner takes commands of before for its own",
        "core/calls.py",
        "            self._epoch = self._since = epoch\n",
        "            self._epoch = epoch\n",
        "commands are sent once",
    ),
    Bug(
        "a command that is sent again is executed whoever may have executed it",
        "core/calls.py",
        "if retry and not self._remembers(stream_epoch, now):",
        "if False:",
        "commands are sent once",
    ),
    Bug(
        "an epoch is read before its questions are answered",
        "runtime/sharing.py",
        "        if not self._is_lit:\n            return self._unlit()\n",
        "",
        "",
    ),
    Bug(
        "somebody's silence is taken for his whatever the bus is worth",
        "runtime/seeking.py",
        "elif exchange.machine.is_healthy_for(now) >= HEALTHY_S:",
        "else:",
        "trouble of Redis costs no link",
    ),
    Bug(
        "sessions are not attached again in a higher epoch",
        "runtime/presenting.py",
        "return self._accepted.get(handle) == self._subject.owner.token",
        "return handle in self._accepted",
        "all is well in the end",
    ),
    Bug(
        "a log-off is told to nobody",
        "runtime/endings.py",
        "        self._exchange.send(Control(), SessionOver(ticket, reason, by))\n        left_s =",
        "        return\n        left_s =",
        "who logged off is not served",
    ),
    Bug(
        "interest never ends",
        "runtime/sharing.py",
        "if now - at > INTEREST_S]",
        "if False]",
        "interest ends",
    ),
    Bug(
        "a stale link does not raise the floor",
        "core/lease.py",
        "        self.seen(token)\n        return self.release() if",
        "        return self.release() if",
        "",
    ),
    Bug(
        "a gap is taken for what follows",
        "core/ledger.py",
        "elif delta.epoch != self.position.epoch or delta.after > self.position.seq:",
        "elif delta.epoch != self.position.epoch:",
        "",
    ),
    Bug(
        "who followed is followed for ever",
        "runtime/household.py",
        "        elif now - self._empty_since >= UNFOLLOW_S:\n            self.stop()\n",
        "",
        "nobody is followed for nothing",
    ),
    Bug(
        "a replica takes in what is behind it",
        "core/ledger.py",
        "        if upto <= self.position:\n            return Receipt.STALE\n",
        "",
        "",
    ),
    Bug(
        "a phone's leave is not told to the owner",
        "runtime/neighbours.py",
        "                    owner.leave(envelope.handle, envelope.node)\n",
        "                    pass\n",
        "",
    ),
    Bug(
        "nobody looks who has the lease beside an open link",
        "runtime/dialling.py",
        "        if now - self._looked_at < _LOOK_AGAIN_S:\n            return False\n",
        "        return False\n",
        "all is well in the end",
    ),
    Bug(
        "a deaf owner keeps his user",
        "runtime/seeking.py",
        "            spawn(tasks, self._take())\n",
        "            pass\n",
        "all is well in the end",
    ),
    Bug(
        "who denies to own the user keeps him",
        "runtime/seeking.py",
        "now - self.denied_since > STUBBORN_S",
        "now - self.denied_since > 1e9",
        "all is well in the end",
    ),
    Bug(
        "a drained node gives nobody",
        "runtime/giving.py",
        '        if self._world.is_draining():\n            return "drain"\n',
        "",
        "",
    ),
    Bug(
        "a log-off that got no answer is not tried again",
        "runtime/account.py",
        '        if answer.routing == "after_contact":\n            self._try_again(',
        "        if False:\n            self._try_again(",
        "who logged off has no session",
    ),
    Bug(
        "who has taken the user without the store is not replaced by the store's owner",
        "core/lease.py",
        "        self._until = self._due_at = -math.inf\n        return self.epoch\n",
        "        self._until = math.inf\n        return self.epoch\n",
        "",
    ),
]
