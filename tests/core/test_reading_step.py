"""Tables that several links share: none sees what another one received, and none is kept without a link."""

from __future__ import annotations

import weakref

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.element import COMPARED_EVERY, OPEN_STEPS, Element, OpenSteps, Parts, ReadingStep
from gateway.domain.model import (
    ALONE_MOST,
    COPIED_FOR,
    OFFERS_MAX,
    TABLES_MOST,
    NextTables,
    SharedTable,
    TablePool,
)


class Holder:
    """A link with a table."""

    def __init__(self, **items: int) -> None:
        self.items: dict[str, int] = items
        self.shared: SharedTable[int] | None = None

    def meet(self, pool: TablePool[int], links: int = 1) -> None:
        self.shared = pool.share("agent", self.shared or SharedTable(self.items), links)
        self.items = self.shared.items

    def go(self, next_tables: NextTables[int], **changes: int) -> None:
        if self.shared is None:
            self.items.update(changes)
        else:
            self.shared = next_tables.apply(self.shared, changes)
            self.items = self.shared.items

    def change(self, key: str, value: int) -> None:
        """Change one item without other links."""
        if self.shared is not None:
            self.items, self.shared = self.shared.leave(), None
        self.items[key] = value


def together(count: int, **items: int) -> list[Holder]:
    """Return links that share one table."""
    pool, holders = TablePool[int](), [Holder(**items) for _ in range(count)]
    for holder in holders:
        holder.meet(pool)
    assert len({id(holder.items) for holder in holders}) == 1
    return holders


def step() -> ReadingStep:
    return ReadingStep([], [], [], [], 0)


def test_links_with_equal_tables_share_one_and_go_on_together() -> None:
    one, two, late = together(3, a=1, b=2)
    before, next_tables = one.items, NextTables[int]()
    one.go(next_tables, a=5)
    two.go(next_tables, a=5)
    assert one.items is two.items
    assert one.items == {"a": 5, "b": 2}
    assert late.items is before == {"a": 1, "b": 2}
    two.go(NextTables[int](), b=6)
    assert one.items == {"a": 5, "b": 2}
    late.go(next_tables, a=5)
    assert late.items is one.items


def test_links_follow_one_that_is_several_steps_ahead() -> None:
    ahead, *others = together(4, a=1, b=1)
    steps = [NextTables[int]() for _ in range(2)]
    for link in (ahead, *others):
        for number, next_tables in enumerate(steps):
            link.go(next_tables, a=number + 5)
    assert {id(link.items) for link in others} == {id(ahead.items)}
    assert ahead.items == {"a": 6, "b": 1}
    for number in range(2 * ALONE_MOST):
        ahead.go(NextTables[int](), b=number)
    assert ahead.shared is not None
    assert ahead.shared.alone > ALONE_MOST, "nobody came"
    assert {id(link.items) for link in others} == {id(others[0].items)}
    assert (ahead.items, others[0].items) == ({"a": 6, "b": 2 * ALONE_MOST - 1}, {"a": 6, "b": 1})


def test_links_that_were_behind_share_again_as_soon_as_they_have_caught_up() -> None:
    ahead, *others = together(4, a=1, b=1)
    steps = [NextTables[int]() for _ in range(ALONE_MOST)]
    for number, next_tables in enumerate(steps):
        ahead.go(next_tables, a=number)
        if number < ALONE_MOST - 1:
            next_tables.close()
    for link in others:
        for number, next_tables in enumerate(steps):
            assert link.items is not ahead.items
            link.go(next_tables, a=number)
        assert link.items is ahead.items
    assert ahead.shared is not None
    assert (ahead.shared.holders, ahead.items) == (4, {"a": ALONE_MOST - 1, "b": 1})


def test_a_table_that_one_link_has_changed_since_is_no_longer_that_of_the_step() -> None:
    ahead, behind = together(2, a=1, b=1)
    behind.go(NextTables[int](), a=2)
    ahead.go(NextTables[int](), a=2)
    steps = [NextTables[int]() for _ in range(2)]
    for next_tables in steps:
        ahead.go(next_tables, a=3)
    behind.go(steps[0], a=3)
    assert behind.items == ahead.items
    assert behind.items is not ahead.items
    behind.go(steps[1], a=3)
    assert behind.items is ahead.items


def test_a_link_that_goes_its_own_way_takes_no_times_of_changes_along() -> None:
    table = SharedTable({"a": 1}, changed_at={"a": 1})
    table.holders = 2
    made = table.after({"a": 2}, is_alone=True)
    assert (table.items, table.changed_at) == ({"a": 1}, {"a": 1})
    assert (made.items, made.changed_at) == ({"a": 2}, {"a": made.clock})


def test_links_share_as_soon_as_they_hold_the_same() -> None:
    one, two = together(2, a=1, b=1)
    one.go(NextTables[int](), a=2)
    two.go(NextTables[int](), b=2)
    for changes, is_shared in (({"a": 3}, False), ({"b": 3}, True)):
        next_tables = NextTables[int]()
        for link in (one, two):
            link.go(next_tables, **changes)
        assert (one.items is two.items) is is_shared
    one, two = together(2, a=1)
    for opened in (together(1, a=1)[0], together(1, a=2)[0]):
        next_tables = NextTables[int]()
        for link in (one, two, opened):
            link.go(next_tables, a=2)
        assert opened.items is one.items


def test_links_that_read_many_steps_one_after_the_other_stay_together() -> None:
    links, steps = together(60, a=1, b=1), [NextTables[int]() for _ in range(8)]
    for link in links:  # as after a pause of the process
        for number, next_tables in enumerate(steps):
            link.go(next_tables, a=number)
    assert len({id(link.items) for link in links}) == 1


def test_a_change_of_one_link_is_no_other_links() -> None:
    one, two = together(2, a=1)
    one.change("a", 2)
    assert (one.items, two.items) == ({"a": 2}, {"a": 1})
    last = two.items
    two.change("a", 3)
    assert two.items is last, "the last one needs no copy"
    assert (one.items, two.items) == ({"a": 2}, {"a": 3})
    one, two = together(2, a=1, b=1)
    next_tables = NextTables[int]()
    one.go(next_tables, a=2)
    one.change("b", 9)
    two.go(next_tables, a=2)
    assert two.items == {"a": 2, "b": 1}


def test_a_table_is_not_copied_for_few_changes_of_few_links() -> None:
    items = {str(number): number for number in range(2 * COPIED_FOR + 1)}
    for count, is_shared in ((2, False), (3, True)):
        one, two, *_ = together(count, **items)
        next_tables = NextTables[int]()
        for link in (one, two):
            link.go(next_tables, **{"0": 7})
        assert (one.items is two.items) is is_shared
        assert one.items == two.items == items | {"0": 7}
        mine = one.items
        one.go(NextTables[int](), **{"0": 8})
        assert (one.items is mine) is not is_shared, "a table of its own is not copied"


def test_no_more_tables_are_kept_for_a_step_than_for_a_reading() -> None:
    next_tables = NextTables[int]()
    for number in range(TABLES_MOST + 2):
        one, _ = together(2, a=number, b=0)
        one.go(next_tables, a=9)
        assert one.items == {"a": 9, "b": 0}
    assert len(next_tables._known) == TABLES_MOST
    next_tables.close()
    assert not next_tables._known


def test_only_links_with_equal_tables_share_and_they_stay_together() -> None:
    pool, one, two, more = TablePool[int](), Holder(a=1), Holder(a=2), Holder(a=1, b=1)
    for holder in (one, two, more, one):
        holder.meet(pool)
    assert [holder.items for holder in (one, two, more)] == [{"a": 1}, {"a": 2}, {"a": 1, "b": 1}]
    kept = one.shared  # as a step does for a while
    one.change("a", 2)
    two.meet(pool)
    assert kept is not None
    assert two.items is not one.items, "it is that link's own now"
    one.meet(pool)
    assert one.items is two.items
    pool, (one, two) = TablePool[int](), together(2, a=1)
    other = Holder(a=1)
    other.meet(pool)
    one.meet(pool)
    assert one.items is two.items


def test_links_of_several_groups_share_in_each() -> None:
    pool, groups = TablePool[int](), [[Holder(a=number) for _ in range(3)] for number in range(TABLES_MOST)]
    for turn in zip(*groups, strict=True):
        for holder in turn:
            holder.meet(pool)
    assert [len({id(holder.items) for holder in group}) for group in groups] == [1] * TABLES_MOST
    for number in range(3 * TABLES_MOST):
        Holder(a=-number - 1).meet(pool)
    assert [len(offers) for offers in pool._offers.values()] == [TABLES_MOST]


def test_a_link_comes_to_the_table_of_one_that_has_gone_on_since() -> None:
    pool, ahead, later = TablePool[int](), Holder(a=1, b=1), Holder(a=1, b=1)
    steps = [NextTables[int]() for _ in range(2)]
    for link in (ahead, later):
        link.meet(pool, links=8)
        for number, next_tables in enumerate(steps):
            link.go(next_tables, a=number + 5)
    assert later.items is ahead.items
    assert ahead.items == {"a": 6, "b": 1}


def test_a_table_is_freed_with_its_last_link() -> None:
    pool, one = TablePool[int](), Holder(a=1)
    one.meet(pool)
    assert one.shared is not None
    table = weakref.ref(one.shared)
    del one
    assert table() is None
    for number in range(3 * OFFERS_MAX):
        Holder(**{str(each): 0 for each in range(number)}).meet(pool)
    assert len(pool._offers) <= OFFERS_MAX


def test_only_the_newest_steps_hold_tables() -> None:
    opened, steps = OpenSteps(), [step() for _ in range(OPEN_STEPS + 2)]
    next_tables = [each.sent_tables for each in steps]
    for each in steps:
        each.sent_tables._known.append((SharedTable({}), SharedTable({})))
        each.shown_tables._known.append((SharedTable({}), SharedTable({})))
    for each in steps:
        opened.note(each)
    assert [bool(each._known) for each in next_tables] == [False] * 2 + [True] * OPEN_STEPS
    assert [bool(each.shown_tables._known) for each in steps] == [False] * 2 + [True] * OPEN_STEPS
    gone = weakref.ref(steps.pop())
    assert gone() is not None
    del each
    assert gone() is None, "only readings keep it"


def test_a_step_applies_to_links_that_share_both_tables_with_another_one() -> None:
    each, sent, shown = step(), SharedTable[Parts]({}), SharedTable[Element]({})
    each.sent_tables._known.append((sent, SharedTable({})))
    assert not each.applies_to_tables(sent, shown, 0)
    each.shown_tables._known.append((shown, SharedTable({})))
    assert each.applies_to_tables(sent, shown, 0)
    assert not each.applies_to_tables(sent, shown, 1)
    assert not each.applies_to_tables(SharedTable({}), shown, 0)
    assert not each.applies_to_tables(sent, SharedTable({}), 0)


def test_tables_are_compared_now_and_then() -> None:
    opened, steps = OpenSteps(), [step() for _ in range(2 * COMPARED_EVERY)]
    for each in steps:
        opened.note(each)
    assert [at for at, each in enumerate(steps, start=1) if each.compares_tables] == [
        COMPARED_EVERY,
        2 * COMPARED_EVERY,
    ]


class Crowd:
    """Links that apply the same steps when they come to it, each with a twin that shares nothing."""

    def __init__(self, count: int) -> None:
        self.pool = TablePool[int]()
        self.holders = [Holder(a=0, b=0, c=0) for _ in range(count)]
        self.twins = [dict(holder.items) for holder in self.holders]
        self.waiting: list[list[tuple[NextTables[int], str, int]]] = [[] for _ in self.holders]

    def act(self, act: tuple) -> None:
        match act:
            case ("step", key, value):
                next_tables = NextTables[int]()
                for each in self.waiting:
                    each.append((next_tables, key, value))
            case ("change", at, key, value):
                self.holders[at].change(key, value)
                self.twins[at][key] = value
            case ("meet", at):
                self.holders[at].meet(self.pool)
            case ("leave", at):
                self.holders[at], self.twins[at] = Holder(a=0, b=0, c=0), {"a": 0, "b": 0, "c": 0}
            case ("apply", at) if self.waiting[at]:
                next_tables, key, value = self.waiting[at].pop(0)
                self.holders[at].go(next_tables, **{key: value})
                self.twins[at][key] = value


LINKS, KEYS, VALUES = st.integers(0, 3), st.sampled_from("abc"), st.integers(0, 3)
ACTS = st.lists(
    st.one_of(
        *[st.tuples(st.just("apply"), LINKS)] * 8,
        *[st.tuples(st.just("step"), KEYS, VALUES)] * 2,
        st.tuples(st.just("change"), LINKS, KEYS, VALUES),
        st.tuples(st.just("leave"), LINKS),
        *[st.tuples(st.just("meet"), LINKS)] * 3,
    ),
    max_size=60,
)


@given(acts=ACTS)
def test_a_table_holds_what_its_link_applied(acts: list[tuple]) -> None:
    expected = Crowd(4)
    for act in [*[("meet", at) for at in range(4)], *acts]:
        expected.act(act)
        assert [holder.items for holder in expected.holders] == expected.twins
