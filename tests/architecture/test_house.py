"""The bounds of ``make house``, and its measures on small samples."""

from __future__ import annotations

from tests.architecture import house
from tests.architecture.routes import Recorder


def test_no_name_has_two_meanings_and_no_modules_import_each_other() -> None:
    product = {
        path: text for path, text in house.tracked("gateway/").items() if not path.startswith(house.SIMULATOR)
    }
    assert len(product) > 50
    assert house.homonyms(product) == {}
    assert house.cycles(house.imports(product)) == []


def test_a_name_with_two_meanings_is_found() -> None:
    types = "class Link: ...\nclass _Own: ...\nKeyT = TypeVar('KeyT')\n"
    files = {
        "gateway/a.py": f"{types}Answer = int",
        "gateway/b.py": f"{types}Answer: TypeAlias = str",
        "gateway/client/c.py": "Answer = int",
    }
    both = ["gateway/a.py", "gateway/b.py"]
    assert house.homonyms(files) == {"Answer": both, "Link": both}


def test_cycles_are_found_also_through_imports_for_types() -> None:
    files = {
        "gateway/a.py": "from gateway.b import B",
        "gateway/b.py": "if TYPE_CHECKING:\n    from gateway import c",
        "gateway/c.py": "def f():\n    import gateway.a",
        "gateway/d.py": "from gateway.a import A",
    }
    assert house.cycles(house.imports(files)) == [["gateway.a", "gateway.b", "gateway.c"]]


def test_a_name_with_two_meanings_is_a_fault() -> None:
    files = {"gateway/a.py": "class Link: ...", "gateway/b.py": "class Link: ..."}
    (fault,) = house.faults(files, files)
    assert "Link" in fault


def test_moves_count_changes_of_file() -> None:
    recorder = Recorder()
    recorder.calls = ["a.py", "a.py", "b.py", "a.py"]
    assert (recorder.files, recorder.moves) == (2, 2)
