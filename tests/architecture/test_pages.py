"""Generated pages agree with the code: rooms, diagrams, metrics, and the tables of docs/cluster.md."""

from __future__ import annotations

import pytest

from docs._generate import cluster, diagrams, metrics, rooms
from docs._generate.metrics import Measured
from gateway.bus.connect import KeyNames
from gateway.core.lease import BusState


def test_the_pages_of_this_tree_are_fresh() -> None:
    assert rooms.PAGE.read_text("utf-8") == rooms.render(rooms.sources())
    assert metrics.PAGE.read_text("utf-8") == metrics.render(metrics.measured())
    pages = {f"{drawn.name}.md": diagrams.draw(drawn) for drawn in diagrams.tables()}
    assert list(diagrams.stale(pages, diagrams.FOLDER)) == []
    page = cluster.PAGE.read_text("utf-8")
    assert cluster.filled(page, cluster.TABLES) == page


def test_every_floor_of_this_house_is_known() -> None:
    found = {path.removesuffix(".py").split("/")[0] for path in rooms.sources()}
    assert found <= rooms.FLOORS.keys()


def test_a_label_whose_values_nobody_knows_is_missed() -> None:
    with pytest.raises(KeyError, match=r"fds\.colour"):
        metrics.render([Measured("fds", "gauge", ("colour",), "Files.")])


def test_values_are_known_of_every_label_and_of_nothing_else_and_each_is_there_once() -> None:
    labels = {f"{one.name}.{label}" for one in metrics.measured() for label in one.labels}
    assert metrics.VALUES.keys() == labels
    for place, values in metrics.VALUES.items():
        assert len(set(values)) == len(values), place
        assert 0 < len(values) < 100, place


@pytest.mark.parametrize("page", ["", "<!-- t: begin -->\n", "<!-- t: begin -->\n<!-- t: end -->\n" * 2])
def test_marks_that_are_not_one_pair_are_missed(page: str) -> None:
    with pytest.raises(ValueError, match="needs one pair of marks for t"):
        cluster.filled(page, {"t": tuple})


def test_every_state_of_the_bus_is_explained() -> None:
    assert set(cluster.PHONES) == set(BusState)


REDIS_RECEIVES = (
    "own", "tok", "og:node:", "og:deny:<hash>", "og:thr:<hash>", "og:try:<hash>", "og:{off}",
    "og:{off}:<hash>", ":ev", "og:n:<node>:in", "og:ctl",
)  # fmt: skip
NAMED_BY = {
    "user", "channel", "node", "throttled", "reservation", "log_off", "listed_log_off",
    "denied", "denied_by", "pseudonym",
}  # fmt: skip


def test_everything_that_redis_receives_has_its_line() -> None:
    assert {name for name in vars(KeyNames) if not name.startswith("_")} == NAMED_BY
    lines = "\n".join(cluster.names_table())
    assert [name for name in REDIS_RECEIVES if name not in lines] == []
