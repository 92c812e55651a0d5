"""Who sees what, and whose turn it is."""

from __future__ import annotations

import pytest

from bench.layout import FIRST_AGENT, Layout


def test_what_is_shared_is_the_same_for_all() -> None:
    layout = Layout(3, queues=4, agents=2)
    assert layout.worlds == 1
    assert layout.sight(0) == layout.sight(2)
    assert (len(layout.sight(0).queues), len(layout.sight(0).agents)) == (4, 2)


def test_what_is_private_is_nobody_elses() -> None:
    layout = Layout(3, queues=4, agents=2, shared=False)
    seen = [key for user in range(3) for keys in layout.sight(user) for key in keys]
    assert layout.worlds == 3
    assert len(seen) == len(set(seen)) == 18


@pytest.mark.parametrize("shared", [True, False])
def test_all_of_a_world_have_their_turn_before_one_has_it_again(shared: bool) -> None:
    layout = Layout(2, queues=4, agents=2, shared=shared)
    world = layout.worlds - 1
    keys = [layout.key(world, turn) for turn in range(6)]
    assert sorted(keys) == sorted([*layout.sight(world).queues, *layout.sight(world).agents])
    assert layout.key(world, 6) == keys[0]
    assert max(keys) >= FIRST_AGENT
