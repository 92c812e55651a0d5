"""One link per user, decided by the token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.elements import message
from gateway.simulator.fields import Refused
from gateway.simulator.links import Link, Links
from tests.simulator.peer import Peer, World


def admit(links: Links, link: str, token: int | None, holder: str | None, now_ms: int = 0) -> str | None:
    return links.admit(1, "anna", link, token, holder, now_ms)


def test_without_the_feature_the_newest_replaces() -> None:
    links = Links(fencing=False)
    admit(links, "a", 9, "one")
    assert admit(links, "b", None, None) == "a"


def test_an_outbid_link_is_replaced_by_a_higher_token() -> None:
    links = Links()
    admit(links, "a", 5, "one")
    assert links.outbid(1) == (6, "a")
    with pytest.raises(Refused, match="LinkStale"):
        admit(links, "b", 6, "one")
    assert admit(links, "b", 7, "one") is None


def test_gaps_are_measured_between_links() -> None:
    links = Links()
    admit(links, "a", 1, "one", 1000)
    links.closed(1, "a", 2000)
    admit(links, "b", 2, "one", 5000)
    admit(links, "c", 3, "one", 9000)
    assert links.counts()["anna"].longest_gap_ms == 3000


def test_restart_forgets_tokens_and_keeps_counts() -> None:
    links = Links()
    admit(links, "a", 5, "one")
    links.restart()
    assert admit(links, "b", 1, "two") is None
    assert links.counts()["anna"].opens == 2


OPENS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("xy"), st.booleans()), max_size=30)


@given(OPENS)
def test_never_two_links_and_never_a_lower_token(opens: list[tuple[int, str, bool]]) -> None:
    links, highest, holder, present = Links(), -1, "", None
    for number, (token, asking, close) in enumerate(opens):
        allowed = token > highest or (token == highest and asking == holder)
        try:
            assert admit(links, str(number), token, asking) == present
        except Refused:
            assert not allowed
        else:
            assert allowed
            highest, holder, present = token, asking, str(number)
        if close and present is not None:
            links.closed(1, present, 0)
            present = None
        assert links.present(1) == present
    assert all(line.most_at_once <= 1 for line in links.counts().values())


# ---- order of a link ----


def test_frames_leave_joined_and_in_order() -> None:
    link, peer = Link("l", World().log_on()), Peer()
    one, two = message({"Type": "A"}), message({"Type": "B"})
    link.send(one)
    link.outlet = peer
    link.send()
    link.send(one)
    link.send(one, two)
    assert peer.raw == [one, one + two]
