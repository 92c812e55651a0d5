"""docs/rooms.md lists every module."""

from __future__ import annotations

from docs._generate import rooms


def test_every_floor_of_this_house_is_known() -> None:
    found = {path.removesuffix(".py").split("/")[0] for path in rooms.sources()}
    assert found <= rooms.FLOORS.keys()


def test_the_page_of_this_tree_is_fresh() -> None:
    assert rooms.PAGE.read_text("utf-8") == rooms.render(rooms.sources())
