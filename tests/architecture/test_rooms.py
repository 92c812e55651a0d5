"""Does docs/rooms.md name every room with its question?"""

from __future__ import annotations

from docs._generate import rooms


def test_rooms_stand_on_their_floor_from_the_top_down() -> None:
    page = rooms.render(
        {
            "domain/model.py": '"""What exists?\n\nMore."""',
            "app/cli.py": '"""What can one\ntype? A lot."""',
            "client.py": '"""How does one\nask?"""',
        }
    )
    assert "| [`app/cli.py`](../gateway/app/cli.py) | What can one type? |" in page
    assert (
        page.index("## app")
        < page.index("`client.py`")
        < page.index("## domain")
        < page.index("What exists?")
    )
    assert "More" not in page


def test_every_floor_of_this_house_is_known() -> None:
    found = {path.removesuffix(".py").split("/")[0] for path in rooms.sources()}
    assert found <= rooms.FLOORS.keys()


def test_the_page_of_this_tree_is_fresh() -> None:
    assert rooms.PAGE.read_text("utf-8") == rooms.render(rooms.sources())
