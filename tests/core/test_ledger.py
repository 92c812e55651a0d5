"""Ledger: the newest value of every key, and what a reader lacks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.element import ChangeSet, Element
from gateway.core.ledger import Delta, Ledger, OwnReaders, Receipt, Update
from gateway.core.view import me_key
from gateway.domain.model import NextTables, Position, TablePool
from gateway.domain.resources import Queue

ONE, TWO, THREE = (Element(Queue(contacts_waiting=waiting)) for waiting in (1, 2, 3))


class Reader:
    """Records what it receives."""

    pace = None

    def __init__(self, ledger: Ledger) -> None:
        self.marks: list[tuple[str, Element | None]] = []
        self.epochs = 0
        ledger.readers[self] = None

    def waiting(self) -> str | None:
        return None

    def epoch_began(self) -> None:
        self.epochs += 1

    def mark_all(self, changes: ChangeSet) -> None:
        for key, before in changes.befores.items():
            self.mark(key, before)

    def mark(self, key: str, before: Element | None) -> None:
        self.marks.append((key, before))


def recorded(*keys: str, epoch: int = 1, tombstones: int = 1024) -> Ledger:
    ledger = Ledger(epoch, tombstones=tombstones)
    for key in keys:
        ledger.record(key, ONE)
    return ledger


def delta(after: int, upto: int, *updates: Update, epoch: int = 1, reset: bool = False) -> Delta:
    return Delta(epoch, after, upto, reset, updates)


def replica() -> Ledger:
    """Return a node's copy of a=ONE, b=TWO at (1, 2)."""
    ledger = Ledger()
    state = delta(0, 2, Update("a", 1, ONE), Update("b", 2, TWO), reset=True)
    assert ledger.receive(state) is Receipt.APPLIED
    return ledger


# ---- a replica ----


@pytest.mark.parametrize(
    ("late", "receipt"),
    [
        (delta(0, 2, Update("a", 1, THREE), reset=True), Receipt.STALE),
        (delta(1, 2, Update("b", 2, THREE)), Receipt.STALE),
        (delta(2, 2), Receipt.STALE),
        (delta(0, 99, Update("a", 1, THREE), epoch=0, reset=True), Receipt.STALE),
        (delta(3, 4, Update("a", 4, THREE)), Receipt.GAP),
        (delta(0, 4, Update("a", 4, THREE), epoch=2), Receipt.GAP),
    ],
)
def test_what_is_late_or_leaves_a_gap_changes_nothing(late: Delta, receipt: Receipt) -> None:
    ledger = replica()
    reader = Reader(ledger)
    assert ledger.receive(late) is receipt
    assert dict(ledger.items()) == {"a": ONE, "b": TWO}
    assert ledger.position == Position(1, 2)
    assert reader.marks == []


# ---- a new owner ----


def test_a_new_epoch_begins_with_the_keys_at_hand() -> None:
    ledger = recorded("a", "b", "c")
    ledger.record("b", None)
    reader = Reader(ledger)
    ledger.rebase(9)
    assert ledger.position == Position(9, 2)
    assert ledger.since(Position(9, 0)) == delta(0, 2, Update("a", 2, ONE), Update("c", 2, ONE), epoch=9)
    assert ledger.since(Position(1, 4)).reset
    assert reader.marks == []


def test_what_is_of_no_owner_is_replaced_by_whatever_comes_next_even_of_a_lower_epoch() -> None:
    ledger = replica()
    reader = Reader(ledger)
    ledger.invalidate()
    assert ledger.position == Position(0, 0)
    assert ledger.get("a") is ONE, "it is shown until there is something else"
    assert not reader.marks
    assert ledger.receive(delta(0, 0, epoch=0)) is Receipt.STALE
    lower = delta(0, 1, Update("a", 1, TWO), epoch=1, reset=True)
    assert ledger.receive(lower) is Receipt.APPLIED
    assert dict(ledger.items()) == {"a": TWO}
    assert ledger.position == Position(1, 1)
    ledger = replica()
    ledger.receive(delta(2, 3, Update("b", 3, None)))
    ledger.invalidate()
    assert [update.key for update in ledger.since(Position(0, 0)).updates] == ["a"]


def test_many_values_of_one_step_are_recorded_under_one_seq() -> None:
    one_by_one, at_once = recorded("a", "b", "d"), recorded("a", "b", "d")
    received, sent_at_once = Reader(one_by_one), Reader(at_once)
    for ledger in (one_by_one, at_once):
        ledger.record("b", None)
    keys, elements = ("a", "b", "c", "d"), (TWO, TWO, THREE, ONE)
    for key, element in zip(keys, elements, strict=True):
        one_by_one.record(key, element)
    changes = zip(keys, elements, strict=True)
    at_once.record_all(ChangeSet((key, at_once.get(key), element) for key, element in changes if key != "d"))
    assert (at_once.position, one_by_one.position) == ((1, 5), (1, 7))
    seen = [ledger.since(Position(1, 3)).updates for ledger in (at_once, one_by_one)]
    assert [(update.key, update.element) for update in seen[0]] == [
        (each.key, each.element) for each in seen[1]
    ]
    assert [update.seq for update in seen[0]] == [5, 5, 5]
    assert at_once.since(Position(1, 5)).updates == ()
    assert sent_at_once.marks == received.marks == [("b", ONE), ("a", ONE), ("b", None), ("c", None)]


def test_changes_that_are_joined_have_the_seq_of_the_last() -> None:
    ledger = recorded("a")
    for key in ("b", "c"):
        ledger.record(key, ONE)
    ledger.join_changes(1)
    everything = ledger.since(Position(1, 0))
    assert {update.key: update.seq for update in everything.updates} == {"a": 1, "b": 3, "c": 3}
    assert [update.key for update in ledger.since(Position(1, 1)).updates] == ["b", "c"]
    assert ledger.since(ledger.position).updates == ()


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (lambda ledger: ledger.record("a", TWO), TWO),
        (lambda ledger: ledger.record("a", None), None),
        (lambda ledger: ledger.record_one("a", ONE, TWO), TWO),
        (lambda ledger: ledger.record_all(ChangeSet([("a", ONE, TWO)])), TWO),
        (lambda ledger: ledger.record_one("a", ONE, TWO, 3, 3), TWO),
        (lambda ledger: ledger.receive(delta(2, 3, Update("a", 3, TWO))), TWO),
        (lambda ledger: ledger.receive(delta(0, 3, Update("b", 2, ONE), reset=True)), None),
    ],
    ids=["record", "gone", "record_one", "record_all", "record_one of an owner", "receive", "reset"],
)
def test_a_ledger_that_shares_its_elements_changes_only_its_own(
    change: Callable[[Ledger], object], after: Element | None
) -> None:
    pool, ledgers = TablePool[Element](), [recorded("a", "b") for _ in range(3)]
    for ledger in ledgers:
        ledger.share_table(pool, 3)
    assert len({id(ledger.elements) for ledger in ledgers}) == 1
    one, *others = ledgers
    change(one)
    assert (one.get("a"), one.elements.get("a"), one.get("b")) == (after, after, ONE)
    for other in others:
        assert dict(other.elements) == dict(other.shared()) == {"a": ONE, "b": ONE}
    assert len({id(other.elements) for other in others}) == 1


@pytest.mark.parametrize(
    "begin",
    [lambda ledger: ledger.rebase(2), lambda ledger: ledger.join_changes(ledger.seq)],
    ids=["a new owner", "a new link"],
)
def test_a_ledger_that_begins_again_shows_no_shared_elements(begin: Callable[[Ledger], object]) -> None:
    pool, ledgers = TablePool[Element](), [recorded("a", "b") for _ in range(2)]
    for ledger in ledgers:
        ledger.share_table(pool, 2)
    one, other = ledgers
    begin(one)
    other.record_one("a", ONE, TWO)
    one.record_one("b", ONE, THREE)
    assert dict(one.elements) == dict(one.shared()) == {"a": ONE, "b": THREE}
    assert dict(other.elements) == dict(other.shared()) == {"a": TWO, "b": ONE}


def record_one(ledger: Ledger, key: str, element: Element | None) -> None:
    before = ledger.get(key)
    if element is not None and before is not None:
        ledger.record_one(key, before, element)


ALIKE: dict[str, Callable[[Ledger, str, Element | None], object]] = {
    "record": Ledger.record,
    "record_one": record_one,
    "join": lambda ledger, *_: ledger.join_changes(ledger.seq - 2),
    "rebase": lambda ledger, *_: ledger.rebase(ledger.epoch + 1),
}
"""What a ledger does without others, by its verb."""


class Twins:
    """Ledgers that share their elements, each with one that shares nothing."""

    def __init__(self, count: int) -> None:
        self.pool = TablePool[Element]()
        self.steps: list[tuple[ChangeSet, NextTables[Element]]] = []
        self.pairs = [(Ledger(1), Ledger(1)) for _ in range(count)]
        self.taken = [0] * count
        for each in chain(*self.pairs):
            for key in "abc":
                each.record(key, ONE)

    def act(self, verb: str, at: int, key: str, element: Element | None) -> None:
        sharing, _ = pair = self.pairs[at]
        match verb:
            case "step" if self.taken[at] == len(self.steps) and element is not None:
                changes = ChangeSet([(key, sharing.get(key), element)])
                self.steps.append((changes, NextTables()))
                self.take(at)
            case "take" if self.taken[at] < len(self.steps):
                self.take(at)
            case "share":
                sharing.share_table(self.pool, len(self.pairs))
            case _ if verb in ALIKE:
                for each in pair:
                    ALIKE[verb](each, key, element)

    def take(self, at: int) -> None:
        """Apply the next step, unless the elements before it are others."""
        sharing, alone = self.pairs[at]
        changes, next_tables = self.steps[self.taken[at]]
        self.taken[at] += 1
        if all(sharing.get(key) is before for key, before in changes.befores.items()):
            sharing.record_all(changes, next_tables)
            alone.record_all(changes)

    def check(self) -> None:
        for sharing, alone in self.pairs:
            assert (sharing.position, sharing.shared_seq) == (alone.position, alone.shared_seq)
            assert dict(sharing.items()) == dict(alone.items())
            assert dict(sharing.elements) == dict(alone.shared())
            for seen in range(alone.seq + 1):
                some, needed = (each.since(Position(alone.epoch, seen)) for each in (sharing, alone))
                assert some[:4] == needed[:4]
                seqs, least = ({update.key: update.seq for update in each.updates} for each in (some, needed))
                assert seqs.keys() >= least.keys(), "it may say more than it has to"
                assert all(seqs[key] >= seq for key, seq in least.items())
                for key, seq, element in some.updates:
                    assert seen < seq <= sharing.seq or some.reset
                    assert element is alone.get(key)
                if seen >= alone.shared_seq:
                    assert seqs == least, "a phone that has everything is sent nothing again"


LEDGERS, KEYS = st.integers(0, 2), st.sampled_from("abc")
ELEMENTS = st.sampled_from([ONE, TWO, THREE])
ACTS = st.lists(
    st.one_of(
        *[st.tuples(st.sampled_from(["step", "take", "take"]), LEDGERS, KEYS, ELEMENTS)] * 3,
        *[st.tuples(st.sampled_from(["share", "join", "rebase", "record_one"]), LEDGERS, KEYS, ELEMENTS)] * 2,
        st.tuples(st.just("record"), LEDGERS, st.sampled_from(["a", me_key("h")]), ELEMENTS | st.none()),
    ),
    max_size=40,
)


@given(acts=ACTS)
def test_a_ledger_that_shares_its_elements_misses_no_change(acts: list[tuple]) -> None:
    twins = Twins(3)
    for at in range(3):
        twins.act("share", at, "a", ONE)
    for act in acts:
        twins.act(*act)
        twins.check()


def test_ledgers_that_share_their_elements_know_what_changed_since_a_position() -> None:
    twins = Twins(3)
    for at in range(3):
        twins.act("share", at, "a", ONE)
    for key in "ab":
        for at in range(3):
            twins.act("step" if at == 0 else "take", at, key, TWO)
    for sharing, alone in twins.pairs:
        assert [sharing.since(Position(1, seen)) for seen in range(6)] == [
            alone.since(Position(1, seen)) for seen in range(6)
        ]
    assert len({id(sharing.versions.seqs) for sharing, _ in twins.pairs}) == 1, "none keeps seqs of its own"


def test_a_ledger_that_comes_to_what_others_share_misses_nothing_of_its_own() -> None:
    twins = Twins(3)
    for at in (0, 1):
        twins.act("share", at, "a", ONE)
    for at, verb in enumerate(("step", "take")):
        twins.act(verb, at, "a", TWO)
    for element in (THREE, TWO):
        twins.act("record", 2, "a", element)
    twins.taken[2] = 1
    twins.act("share", 2, "a", ONE)
    for at, verb in enumerate(("step", "take", "take")):
        twins.act(verb, at, "b", TWO)
    assert len({id(sharing.elements) for sharing, _ in twins.pairs}) == 1
    twins.check()


def test_one_value_is_recorded_as_any_other() -> None:
    usual, quick = recorded("a", "b"), recorded("a", "b")
    received, sent_quickly = Reader(usual), Reader(quick)
    for ledger in (usual, quick):
        ledger.joinable, ledger.firsts = {"place": "somebody"}, {"view": "somebody"}
        ledger.has_news = False
    for element in (TWO, THREE):
        usual.record("a", element)
        quick.record_one("a", quick.elements["a"], element)
    for ledger in (usual, quick):
        assert (ledger.position, ledger.shared_seq, ledger.has_news) == ((1, 4), 4, True)
        assert not ledger.joinable
        assert not ledger.firsts
    assert quick.since(Position(1, 2)) == usual.since(Position(1, 2))
    assert sent_quickly.marks == received.marks == [("a", ONE), ("a", TWO)]


def test_nothing_that_changed_leaves_those_who_meet_where_they_are() -> None:
    ledger = recorded("a")
    ledger.joinable = {"place": "somebody"}
    ledger.record_all(ChangeSet(()))
    assert ledger.joinable
    ledger.record_all(ChangeSet([("a", ONE, TWO)]))
    assert not ledger.joinable


@given(
    changes=st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=20),
    received_from=st.integers(0, 20),
    tombstones=st.integers(1, 3),
)
def test_who_received_every_change_gets_what_is_since_then(
    changes: list[tuple[str, bool]], received_from: int, tombstones: int
) -> None:
    ledger, reader, seen = Ledger(1, tombstones=tombstones), None, Position(1, 0)
    for number, (key, is_there) in enumerate(changes):
        if number == received_from:
            reader, seen = Reader(ledger), ledger.position
        ledger.record(f"queue:{key}", Element(Queue(contacts_waiting=number)) if is_there else None)
    if reader is not None:
        keys = dict.fromkeys(key for key, _ in reader.marks)
        assert ledger.delta_of(seen, keys) == ledger.since(seen)
        assert ledger.delta_of(Position(2, 0), ()) == ledger.since(Position(2, 0))


# ---- what is one session's own ----


def own(*keys: str, tombstones: int = 1024) -> Ledger:
    """Return a ledger of epoch 1 that holds `a`, and then these."""
    ledger = recorded("a", tombstones=tombstones)
    for key in keys:
        ledger.record(key, ONE)
    return ledger


def own_readers(received: list[tuple[str, Element | None]]) -> OwnReaders:
    """Return readers of own keys that record what they learn."""
    return cast("OwnReaders", SimpleNamespace(mark=lambda key, before: received.append((key, before))))


def test_own_keys_go_to_their_readers_alone_and_news_are_taken_once() -> None:
    ledger = Ledger(1)
    reader = Reader(ledger)
    received: list[tuple[str, Element | None]] = []
    ledger.own_readers = own_readers(received)
    for key in ("me:1", "session:1", "a"):
        ledger.record(key, ONE)
    ledger.record("me:1", TWO)
    assert received == [("me:1", None), ("session:1", None), ("me:1", ONE)]
    assert reader.marks == [("a", None)]
    assert ledger.position.seq == 4
    ledger = Ledger(1)
    ledger.own_readers = own_readers([])
    assert (ledger.has_news, ledger.take_own_news()) == (False, [])
    ledger.record("me:1", ONE)
    ledger.record("me:2", ONE)
    assert (ledger.has_news, ledger.take_own_news()) == (False, ["me:1", "me:2"])
    ledger.record("a", ONE)
    assert (ledger.has_news, ledger.take_own_news()) == (True, [])
    ledger.has_news = False
    ledger.rebase(2)
    assert (ledger.has_news, ledger.take_own_news()) == (True, []), "streams have other names now"


def test_a_session_sees_and_misses_what_all_share_and_its_own() -> None:
    ledger = own("me:1", "session:1", "me:2")
    assert ledger.shared() == [("a", ONE)]
    assert ledger.seen_by("me:1") == [("a", ONE), ("me:1", ONE)]
    assert ledger.seen_by("me:3") == [("a", ONE)]
    assert {key for key, _ in ledger.items()} == {"a", "me:1", "session:1", "me:2"}
    ledger = own("me:1", "me:2")
    assert ledger.since(Position(1, 1), "me:1") == delta(1, 3, Update("me:1", 2, ONE))
    assert ledger.since(Position(1, 2), "me:1") == delta(2, 3)
    assert ledger.since(Position(2, 0), "me:2").updates == (Update("a", 1, ONE), Update("me:2", 3, ONE))
    ledger.record("me:1", None)
    assert ledger.since(Position(1, 3), "me:1") == delta(3, 4, Update("me:1", 4, None))
    assert ledger.since(Position(0, 0), "me:1").updates == (Update("a", 1, ONE),)


def test_sessions_that_leave_in_crowds_reset_nobody_who_has_his_own() -> None:
    ledger = own("me:1", *(f"me:{number}" for number in range(2, 9)), tombstones=2)
    seen = ledger.position
    for number in range(2, 9):
        ledger.record(f"me:{number}", None)
    assert not ledger.since(seen, "me:1").reset
    assert ledger.since(seen).reset, "a list of all elements does not show removals"
    assert ledger.since(seen, "me:2").reset, "nobody knows whether he had it"


def test_own_keys_are_sent_to_followers_and_count_for_their_phone() -> None:
    ledger = own("me:1")
    ledger.record("me:1", None)
    ledger.record("a", TWO)
    received = ledger.delta_of(Position(1, 2), ["me:1", "a"])
    assert (
        received == ledger.since(Position(1, 2)) == delta(2, 4, Update("me:1", 3, None), Update("a", 4, TWO))
    )
    ledger = recorded("queue:1", "me:one", "me:two", "queue:2", "me:one")
    ledger.record("me:one", TWO)
    assert (ledger.seen_upto("me:one"), ledger.seen_upto("me:two"), ledger.seen_upto("me:three")) == (5, 4, 4)
    ledger.record("me:two", None)
    assert ledger.seen_upto("me:two") == 6
