"""Are the values under a key those that were put there, in their order?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.user_sessions import Few


class Thing:
    """Equal to no other."""


def test_of_what_was_never_put_there_is_nothing() -> None:
    assert Few[str, Thing]().of("a") == ()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=30))
def test_it_is_what_lists_would_be(acts: list[tuple[str, int]]) -> None:
    few: Few[str, Thing] = Few()
    lists: dict[str, list[Thing]] = {key: [] for key in "abc"}
    for key, act in acts:
        if act and lists[key]:
            few.drop(key, lists[key].pop(act % len(lists[key])))
        else:
            lists[key].append(Thing())
            few.add(key, lists[key][-1])
        assert {each: few.of(each) for each in lists} == {each: tuple(lists[each]) for each in lists}
        assert len(few) == sum(1 for held in lists.values() if held)
