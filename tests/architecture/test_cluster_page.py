"""docs/cluster.md agrees with the code."""

from __future__ import annotations

import pytest

from docs._generate import cluster
from gateway.bus.connect import KeyNames
from gateway.core.lease import BusState


@pytest.mark.parametrize("page", ["", "<!-- t: begin -->\n", "<!-- t: begin -->\n<!-- t: end -->\n" * 2])
def test_marks_that_are_not_one_pair_are_missed(page: str) -> None:
    with pytest.raises(ValueError, match="needs one pair of marks for t"):
        cluster.filled(page, {"t": tuple})


def test_every_state_of_the_bus_is_explained() -> None:
    assert set(cluster.PHONES) == set(BusState)


def test_everything_that_redis_receives_has_its_line() -> None:
    lines = "\n".join(cluster.names_table())
    methods = {name for name in vars(KeyNames) if not name.startswith("_")}
    of_denials = {"denied", "denied_by", "pseudonym"}
    assert methods == {
        "user",
        "channel",
        "node",
        *of_denials,
        "throttled",
        "reservation",
        "log_off",
        "listed_log_off",
    }
    for name in (
        "own",
        "tok",
        "og:node:",
        "og:deny:<hash>",
        "og:thr:<hash>",
        "og:try:<hash>",
        "og:{off}",
        "og:{off}:<hash>",
        ":ev",
        "og:n:<node>:in",
        "og:ctl",
    ):
        assert name in lines


def test_the_page_of_this_tree_is_fresh() -> None:
    page = cluster.PAGE.read_text("utf-8")
    assert cluster.filled(page, cluster.TABLES) == page
