"""What does a publication of the owner change in the ledger of who follows him?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.element import Element
from gateway.core.ledger import Delta, Ledger
from gateway.core.ledger import Update as Held
from gateway.domain.model import UserId
from gateway.domain.resources import Queue
from gateway.protocol.envelopes import Publication, PublishedValue
from gateway.runtime.follower import Shared, arrived, as_of, delta, is_of_sessions

KEY = "queue:1"


def told(*updates: PublishedValue, reset: bool = False, user: int = 1) -> Publication:
    return Publication(UserId("main", user), 1, 0, 9, reset, updates, "live", None)


def holding(value: Queue) -> Ledger:
    ledger = Ledger(1)
    ledger.receive(Delta(1, 0, 1, reset=False, updates=(Held(KEY, 1, Element(value)),)))
    return ledger


def test_what_was_told_is_what_is_taken_in() -> None:
    made = delta(
        told(PublishedValue(KEY, 3, Queue(contacts_waiting=1)), PublishedValue("queue:2", 4, None)),
        Ledger(),
        {},
    )
    assert (made.epoch, made.after, made.upto, made.reset) == (1, 0, 9, False)
    first, second = made.updates
    assert (first.key, first.seq, second) == (KEY, 3, Held("queue:2", 4, None))
    assert first.element is not None
    assert first.element.value == Queue(contacts_waiting=1)


def test_a_value_that_users_share_is_one_element() -> None:
    value, made = Queue(contacts_waiting=1), Shared()
    ledgers = [Ledger(), holding(Queue(contacts_waiting=0)), holding(Queue(contacts_waiting=2))]
    found = {
        delta(told(PublishedValue(KEY, 3, value)), ledger, made).updates[0].element for ledger in ledgers
    }
    assert len(found) == 1


@pytest.mark.parametrize("made_before", [False, True])
def test_what_is_held_already_stays_the_same_element(*, made_before: bool) -> None:
    value, made = Queue(contacts_waiting=1), Shared()
    ledger = holding(Queue(contacts_waiting=1))
    if made_before:
        delta(told(PublishedValue(KEY, 3, value)), Ledger(), made)
    assert delta(told(PublishedValue(KEY, 3, value)), ledger, made).updates[0].element is ledger.get(KEY)


@pytest.mark.parametrize(
    ("publication", "is_told"),
    [
        (told(PublishedValue(KEY, 1, None)), False),
        (told(PublishedValue(KEY, 1, None), PublishedValue("session:0f", 2, None)), True),
        (told(reset=True), True),
        (told(), False),
    ],
)
def test_what_may_be_of_sessions(publication: Publication, *, is_told: bool) -> None:
    assert is_of_sessions(publication) is is_told


@pytest.mark.parametrize(
    ("ahead_s", "age_ms", "is_told_as_s"),
    [
        (0.0, 300, 0.5),
        (30.0, 300, 0.3),
        (-30.0, 300, 0.3),
        (-46_800.0, 0, 0.0),
        (0.0, None, 0.5),
        (30.0, None, 0.0),
    ],
)
def test_an_age_is_told_whatever_the_clock_of_the_sender_says(
    ahead_s: float, age_ms: int | None, is_told_as_s: float
) -> None:
    """It was 0.3 s old when it was sent, and 0.2 s under way."""
    here_ms = 1_700_000_000_000
    there_ms = here_ms + round(ahead_s * 1000) - 200
    publication = Publication(UserId("main", 1), 1, 0, 9, False, (), "live", there_ms - 300, age_ms=age_ms)
    assert as_of(publication, 50.0, here_ms) == pytest.approx(50.0 - is_told_as_s)


@pytest.mark.parametrize(("ahead_s", "is_told_as_s"), [(0.0, 20.5), (3_600.0, 30.3), (-3_600.0, 30.3)])
def test_what_waited_while_this_process_stood_still_is_dated_by_what_is_known(
    ahead_s: float, is_told_as_s: float
) -> None:
    """It was 0.3 s old when it was sent, and waited 20.2 s of the 30 s in which nothing was read here."""
    here_ms = 1_700_000_000_000
    there_ms = here_ms + round(ahead_s * 1000) - 20_200
    publication = Publication(UserId("main", 1), 1, 0, 9, False, (), "live", there_ms - 300, age_ms=300)
    assert as_of(publication, 50.0, here_ms, 30.0) == pytest.approx(50.0 - is_told_as_s)
    ledger = Ledger()
    arrived(publication, ledger, 50.0, here_ms, 30.0)
    assert ledger.ahead_ms == 0, "nothing is known of its clock"


@pytest.mark.parametrize(
    ("ahead_ms", "noted_ms"), [(0, 0), (500, 0), (-200, 0), (30_000, 30_000), (-30_000, -30_000)]
)
@pytest.mark.parametrize("reset", [False, True])
def test_an_owners_clock_that_is_a_second_off_is_noted(ahead_ms: int, noted_ms: int, *, reset: bool) -> None:
    ledger, sent_ms = Ledger(), 1_700_000_000_000
    publication = replace(told(reset=reset), as_of_ms=sent_ms + ahead_ms - 4_000, age_ms=4_000)
    arrived(publication, ledger, 1.0, sent_ms)
    assert ledger.ahead_ms == noted_ms
    late = replace(publication, age_ms=4_700)
    arrived(late, ledger, 2.0, sent_ms + 1_400)
    assert ledger.ahead_ms == noted_ms, "what phones take for the time does not jump with each message"
    arrived(replace(publication, as_of_ms=sent_ms - 4_000), ledger, 3.0, sent_ms)
    assert ledger.ahead_ms == 0, "the clock was set"
