"""Model of an agent: the states by the two pages, and the effect of each command.

Written from the pages' text alone, for the property of the state rules; it shares no code with the
simulator or the gateway. Instants are ms. What the pages leave to the server stands in `Policy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

Reasons = Mapping[str, Mapping[str, Any]]
"""The reasons as phones see them in `catalogue:reasons`, by id."""


class Policy:
    """What the pages leave to the server."""

    START_WITHIN_MS: Final = 60_000
    """After a contact's end post-processing may still be started for so long."""
    LIMIT_MS: Final = 300_000
    """The longest post-processing, extensions included."""
    DURATIONS_S: Final = (1, 300)


class Verdict(NamedTuple):
    """What is answered. Of several things that are wrong any may be reported."""

    status: str
    codes: frozenset[str] = frozenset()


APPLIED, PENDING, UNCHANGED = Verdict("applied"), Verdict("pending"), Verdict("unchanged")


def rejected(*codes: str) -> Verdict:
    """Say no."""
    return Verdict("rejected", frozenset(codes))


@dataclass(frozen=True, slots=True)
class Contact:
    """A customer, waiting or in hand."""

    id: str
    queue: str | None
    state: str = "ringing"
    since_ms: int = 0
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """The state that is entered when handling empties. *who*: the name of the supervisor."""

    state: str
    reason: str | None
    by: str
    who: str | None = None


@dataclass(frozen=True, slots=True)
class Post:
    """Post-processing of *contact*."""

    contact: Contact
    since_ms: int
    ends_ms: int
    limit_ms: int


@dataclass(slots=True)
class AgentModel:
    """One agent under the state rules. Every change has the instant at which it happens."""

    reasons: Reasons
    wrap_up_queues: frozenset[str] = frozenset()
    """Queues whose contacts need a wrap-up reason."""
    logged_on: bool = False
    remote: bool = False
    app_present: bool = False
    """Whether the app that he logged on with is connected, as far as the server can tell."""
    state: str = "unavailable"
    reason: str | None = None
    since_ms: int = 0
    pending: Asked | None = None
    contacts: list[Contact] = field(default_factory=list)
    waiting: list[Contact] = field(default_factory=list)
    """Contacts of his queue, oldest first. Nobody else serves it."""
    post: Post | None = None
    auto_on: bool = False
    auto_s: int = 30
    wanted_s: int | None = None
    """Post-processing is to follow the contacts in hand."""
    unprocessed: Contact | None = None
    """A contact that he talked to, and that ended since handling was empty or post-processing began."""
    startable: tuple[Contact, int] | None = None
    """A contact for which post-processing may be started, and until when."""
    ended: Asked | None = None
    """How he was logged off last."""

    @property
    def handling(self) -> bool:
        """Whether handling is not empty; post-processing is handling."""
        return bool(self.contacts) or self.post is not None

    @property
    def idle(self) -> bool:
        """Whether a contact of the queue is given to him."""
        return self.logged_on and self.state == "available" and not self.handling and self.pending is None

    # ---- what is asked ----

    def log_on(self, now_ms: int, *, remote: bool) -> None:
        """logged_off --log on--> unavailable."""
        self.logged_on, self.remote = True, remote
        self.state, self.reason, self.since_ms = "unavailable", None, now_ms

    def ask(self, asked: Asked, when: str, now_ms: int) -> Verdict:
        """Ask for a routing state."""
        wrong = self._wrong_reason(asked.state, asked.reason)
        if not self.logged_on and asked.state != "logged_off":
            wrong |= {"cannot_log_on_for_another"}
        if asked.state == "logged_off" and when == "now" and self.handling:
            wrong |= {"not_allowed_while_handling"}
        if wrong:
            return rejected(*wrong)
        if self._is_present(asked.state, asked.reason):
            return self._clear()
        if self.handling:
            self.pending = asked
            return PENDING
        self._enter(asked, now_ms)
        return APPLIED

    def set_auto(self, *, on: bool, duration_s: int | None) -> Verdict:
        """Let post-processing follow each contact, or not."""
        wanted_s = self.auto_s if duration_s is None else duration_s
        low, high = Policy.DURATIONS_S
        if not low <= wanted_s <= high:
            return rejected("value_out_of_range")
        if (on, wanted_s) == (self.auto_on, self.auto_s):
            return UNCHANGED
        self.auto_on, self.auto_s = on, wanted_s
        return APPLIED

    def start(self, now_ms: int) -> Verdict:
        """Start post-processing now, or let it follow the contact in hand."""
        if self.post is not None or self.wanted_s is not None:
            return UNCHANGED
        if any(contact.answered for contact in self.contacts):
            self.wanted_s = self.auto_s
            return PENDING
        if self.contacts or self.startable is None or now_ms >= self.startable[1]:
            return rejected("no_contact")
        self._begin(self.startable[0], self.auto_s, now_ms)
        return APPLIED

    def extend(self, until_ms: int) -> Verdict:
        """Move the end of post-processing."""
        post = self.post
        if post is None:
            return rejected("not_post_processing")
        if until_ms > post.limit_ms:
            return rejected("limit_reached")
        if until_ms <= post.ends_ms:
            return UNCHANGED
        self.post = replace(post, ends_ms=until_ms)
        return APPLIED

    def finish(self, next_state: str | None, wrap_up: tuple[str, ...], now_ms: int) -> Verdict:
        """End post-processing: to *next_state*, else to the pending or the previous state."""
        wrong = set() if next_state is None else self._wrong_reason(next_state, None)
        wrong |= {code for each in wrap_up if (code := self._wrong_kind(each, "wrapup"))}
        if self.post is None:
            return rejected("not_post_processing", *wrong)
        if not wrap_up and self.post.contact.queue in self.wrap_up_queues:
            wrong |= {"wrap_up_reason_required"}
        if wrong:
            return rejected(*wrong)
        if next_state is not None:
            present = self._is_present(next_state, None)
            self.pending = None if present else Asked(next_state, None, "self")
        self._post_ends(now_ms)
        return APPLIED

    # ---- what happens ----

    def arrives(self, contact: Contact, now_ms: int) -> None:
        """A contact comes to the queue: to him when he is idle, else it waits."""
        self.waiting.append(contact)
        self._serve(now_ms)

    def gives_up(self, contact: Contact) -> None:
        """A waiting customer hangs up."""
        self.waiting.remove(contact)

    def rings(self, contact: Contact, now_ms: int) -> None:
        """A contact comes to him past all queues."""
        self.contacts.append(replace(contact, state="ringing", since_ms=now_ms))

    def turns(self, index: int, state: str, now_ms: int) -> None:
        """A contact in hand is answered, held, consulted about or retrieved."""
        contact = self.contacts[index]
        self.contacts[index] = replace(contact, state=state, since_ms=now_ms, answered=True)

    def ends(self, index: int, now_ms: int) -> None:
        """End a contact, for either side."""
        contact = self.contacts.pop(index)
        if contact.answered:
            self.unprocessed = contact
            self.startable = (contact, now_ms + Policy.START_WITHIN_MS)
        if self.handling:
            return
        if self.unprocessed is not None and (self.auto_on or self.wanted_s is not None):
            self._begin(self.unprocessed, self.wanted_s or self.auto_s, now_ms)
        else:
            self._empties(now_ms)

    def time_is(self, now_ms: int) -> None:
        """Let the deadline of post-processing be looked at."""
        if self.post is not None and self.post.ends_ms <= now_ms:
            self._post_ends(self.post.ends_ms)

    def logs_off(self, asked: Asked) -> None:
        """He logs off, or is logged off: nothing is in hand, and nothing is pending."""
        self.ended = asked
        self.logged_on = self.remote = False
        self.state, self.reason, self.pending = "unavailable", None, None
        self.contacts.clear()
        self.post = self.wanted_s = self.unprocessed = self.startable = None

    # ---- what may be done ----

    def actions(self, now_ms: int) -> set[str]:
        """Return what his state lets be done: what would neither be refused nor leave all as it is."""
        if not self.logged_on:
            return set()
        found = {"set_unavailable", "set_work", "log_off"}
        if self.state != "available" or self.pending is not None:
            found.add("set_available")
        if self.post is not None:
            found.add("finish_post_processing")
            if self.post.ends_ms < self.post.limit_ms:
                found.add("extend_post_processing")
        elif self._may_start(now_ms):
            found.add("start_post_processing")
        if self.remote and not self.handling:
            found.add("change_remote_number")
        return found

    # ---- inside ----

    def _may_start(self, now_ms: int) -> bool:
        if self.contacts:
            return self.wanted_s is None and any(contact.answered for contact in self.contacts)
        return self.startable is not None and now_ms < self.startable[1]

    def _is_present(self, state: str, reason: str | None) -> bool:
        present = self.state if self.logged_on else "logged_off"
        return state == present and reason in {None, self.reason}

    def _wrong_reason(self, state: str, reason: str | None) -> set[str]:
        if self._is_present(state, reason):
            return set()
        if reason is not None:
            wrong = self._wrong_kind(reason, state)
            return set() if wrong is None else {wrong}
        is_needed = any(state in each["required_for"] for each in self.reasons.values())
        return {"reason_required"} if is_needed else set()

    def _wrong_kind(self, reason: str, kind: str) -> str | None:
        known = self.reasons.get(reason)
        if known is None:
            return "reason_unknown"
        return None if known["kind"] == kind else "reason_wrong_kind"

    def _clear(self) -> Verdict:
        if self.pending is None:
            return UNCHANGED
        self.pending = None
        return APPLIED

    def _begin(self, contact: Contact, duration_s: int, now_ms: int) -> None:
        self.wanted_s = self.unprocessed = self.startable = None
        limit_ms = now_ms + Policy.LIMIT_MS
        self.post = Post(contact, now_ms, min(limit_ms, now_ms + 1000 * duration_s), limit_ms)

    def _post_ends(self, now_ms: int) -> None:
        self.post = None
        if not self.contacts:
            self._empties(now_ms)

    def _empties(self, now_ms: int) -> None:
        """Handling is empty: what is pending is entered."""
        self.wanted_s = self.unprocessed = None
        pending, self.pending = self.pending, None
        if pending is not None:
            self._enter(pending, now_ms)
        self._serve(now_ms)

    def _enter(self, asked: Asked, now_ms: int) -> None:
        if asked.state == "logged_off":
            self.logs_off(asked)
            return
        self.state, self.reason, self.since_ms = asked.state, asked.reason, now_ms
        self._serve(now_ms)

    def _serve(self, now_ms: int) -> None:
        if self.idle and self.waiting:
            self.rings(self.waiting.pop(0), now_ms)
