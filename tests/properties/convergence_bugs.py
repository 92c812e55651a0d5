"""Which bugs must the convergence of phones reveal?"""

from __future__ import annotations

from tests.properties.seeded import SeededBug

OUTBOX, LEDGER, ELEMENT, VIEW = "core/outbox.py", "core/ledger.py", "core/element.py", "core/view.py"
CHANGES, CONVOY, NEWEST = "core/ledger.py", "core/fanout_group.py", "core/ledger.py"


def bug(name: str, file: str, old: str, new: str, *, quick: bool = False) -> SeededBug:
    return SeededBug(name, file, old, new, "TestConvergence", quick)


SEEDED = [
    # ---- the outbox ----
    bug(
        "a ping moves a phone past what still waits",
        OUTBOX,
        "        if not self._has_state():\n            self._seq",
        "        if True:\n            self._seq",
        quick=True,
    ),
    bug(
        "a ping never moves a phone",
        OUTBOX,
        "        if not self._has_state():\n            self._seq",
        "        if False:\n            self._seq",
    ),
    bug(
        "a phone resumes in any stream",
        OUTBOX,
        "if position is None or position.stream != self.stream:",
        "if position is None:",
    ),
    bug(
        "keys that left the view stay on the phone",
        OUTBOX,
        "                dirty.setdefault(key, held)\n",
        "                pass\n",
    ),
    bug(
        "keys that entered the view are not sent",
        OUTBOX,
        "                dirty.setdefault(key, Held.NOTHING)\n",
        "                pass\n",
    ),
    bug(
        "a key that left and came back unseen is put anew",
        OUTBOX,
        "                dirty.setdefault(key, held)\n",
        "                dirty[key] = Held.NOTHING\n",
    ),
    bug(
        "a newer change forgets what the phone holds",
        OUTBOX,
        "            self._conflated += 1\n",
        "            dirty[key] = Held.NOTHING if before is None else before\n",
    ),
    bug("a patch is sent as if nothing was held", CHANGES, 'else Change("gone", name, b"")', "else None"),
    bug("every part moves the position", CHANGES, "upto=head.seq if last else after,", "upto=head.seq,"),
    bug("no part says that there is more", CHANGES, "more=not last,", "more=False,"),
    bug(
        "a new stream has no name",
        CHANGES,
        "announce = reset or head.stream != cursor.stream",
        "announce = reset",
    ),
    bug("a reset begins where it ends", CHANGES, "        after=0,\n", "        after=head.seq,\n"),
    bug(
        "a reset in parts begins where it ends",
        CHANGES,
        'nowhere = Cursor("", 0)',
        'nowhere = Cursor("", head.seq)',
    ),
    bug(
        "a resume forgets what is gone",
        OUTBOX,
        "Held.SOMETHING for update in delta.updates if self.view.sees(update.key)}",
        "Held.SOMETHING for update in delta.updates if self.view.sees(update.key) and update.element}",
    ),
    bug("what changes outside the view is sent", CHANGES, "if view.sees(key) else None", ""),
    bug(
        "a reset is of everybody's keys",
        CHANGES,
        "ledger.shared() if key in shared]",
        "ledger.shared()]",
    ),
    bug("what all are told first outlives a change", LEDGER, "self.firsts.clear()", "pass"),
    # ---- those in step ----
    bug("who parts forgets what waits", CONVOY, "        left.update(self._dirty)\n", "", quick=True),
    bug(
        "who parts thinks that he was told less",
        OUTBOX,
        "            self._seq = fanout_group.seq\n",
        "",
    ),
    bug(
        "who parts reads no more",
        OUTBOX,
        "            self.ledger.readers[self] = None\n",
        "",
    ),
    bug("whoever holds anything is in step", OUTBOX, "or self._seq != head:", ":"),
    bug(
        "who still waits for something is in step",
        OUTBOX,
        "if is_own or self._has_state() or",
        "if is_own or",
    ),
    bug(
        "a fanout_group sails into a new epoch",
        CONVOY,
        "        for member in list(self._members):\n            member.part()\n",
        "        pass\n",
    ),
    bug("those in step see all the same", CONVOY, "return (view.shared, codec.name", "return (codec.name"),
    bug(
        "those in step read the same codec", CONVOY, "(view.shared, codec.name, frame", "(view.shared, frame"
    ),
    bug(
        "who waited where those in step come to is taken along, whatever it is to be told since",
        CONVOY,
        "and found.place(now) == place and self.has_room",
        "and self.has_room",
    ),
    # ---- the ledger ----
    bug(
        "removals are forgotten without a trace",
        NEWEST,
        "            self.floor = max(self.floor, forgotten)\n",
        "",
    ),
    bug(
        "a replica claims to know what was before its reset",
        LEDGER,
        "            self._shared.forget_gone(floor)\n",
        "            self._shared.forget_gone(0)\n",
    ),
    bug(
        "who begins to follow gives all to whoever comes",
        LEDGER,
        "floor = delta.upto if delta.floor is None else delta.floor",
        "floor = delta.upto",
        quick=True,
    ),
    bug(
        "a reset says nothing of what was removed last",
        NEWEST,
        "return max(self.floor, next(reversed(self.gone.values()), 0))",
        "return self.floor",
    ),
    bug(
        "a replica takes what is others' own for shared",
        LEDGER,
        "self._move(upto, max(shared, default=0))",
        "self._move(upto, delta.upto)",
    ),
    bug(
        "a gap is no gap",
        LEDGER,
        "elif delta.epoch != self.position.epoch or delta.after > self.position.seq:",
        "elif delta.epoch != self.position.epoch:",
    ),
    bug(
        "changes of another epoch are taken for ours",
        LEDGER,
        "elif delta.epoch != self.position.epoch or delta.after > self.position.seq:",
        "elif delta.after > self.position.seq:",
    ),
    bug("what is late is taken in", LEDGER, "if upto <= self.position:", "if False:"),
    bug(
        "answers leave removals out",
        NEWEST,
        "return missing + [Update(key, seq, None) for key, seq in self.gone.items() if seq > seen]",
        "return missing",
    ),
    bug(
        "a reset keeps what is not in it",
        LEDGER,
        "            self._forget_all_but({update.key for update in delta.updates})\n",
        "            pass\n",
    ),
    bug(
        "who is ahead is in sync",
        LEDGER,
        "floor <= seen.seq <= self.position.seq",
        "floor <= seen.seq",
    ),
    bug(
        "every epoch is the same",
        LEDGER,
        "return seen.epoch == self.position.epoch and floor",
        "return floor",
    ),
    bug(
        "readers are told of every storing",
        LEDGER,
        "reader.mark(key, before)",
        "reader.mark(key, None)",
    ),
    # ---- elements and views ----
    bug(
        "a patch from one element is sent to holders of another",
        ELEMENT,
        "if each.number == before.number and each.codec == codec.name:",
        "if each.codec == codec.name:",
    ),
    bug(
        "all views have one name",
        VIEW,
        '        digest.update(f"|{kind}:{sorted(scope.of(kind))}".encode())\n',
        "        pass\n",
    ),
]
