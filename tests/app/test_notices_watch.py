"""Watch of notices: changes take effect, faulty files do not, each is reported once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.app.reload import NoticesReloader
from tests.doubles.clock import ManualClock

NOTICE = """\
id = "{name}"
version = {version}
category = "{category}"
effective_at = {at}
texts.en = {{title = "Title", summary = "Summary"}}
"""
PAST, FUTURE = "2023-11-14T00:00:00Z", "2023-11-15T00:00:00Z"
"""Before and after the manual clock's start."""


class Folder:
    """A folder of notices, somebody who watches it, and what he logs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock()
        self.write("upkeep")
        self.watch = NoticesReloader([path], self.clock)

    def write(
        self, name: str, version: int = 1, category: str = "maintenance", at: str = PAST, more: str = ""
    ) -> None:
        text = NOTICE.format(name=name, version=version, category=category, at=at)
        (self.path / f"{name}.toml").write_text(text + more, "utf-8")

    @property
    def in_force(self) -> list[tuple[str, int]]:
        return [(notice.id, notice.version) for notice in self.watch.notices.all]

    async def looked(self) -> list[tuple[str, str]]:
        """Look once; returns what is logged: level, and the sentence with its fields."""
        with capture_logs() as logged:
            await self.watch.look()
        received = [{name: text for name, text in line.items() if name != "log_level"} for line in logged]
        return [
            (line["log_level"], ": ".join([fields.pop("event"), *map(" ".join, fields.items())]))
            for line, fields in zip(logged, received, strict=True)
        ]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


async def test_a_change_takes_effect_and_is_logged_once(folder: Folder) -> None:
    folder.write("upkeep", 2)
    folder.write("key", category="security")
    assert await folder.looked() == [
        ("info", "notices_reloaded: new key v1, upkeep v2: gone upkeep v1"),
    ]
    assert folder.in_force == [("key", 1), ("upkeep", 2)]
    assert await folder.looked() == []


async def test_the_last_notice_may_go(folder: Folder) -> None:
    (folder.path / "upkeep.toml").unlink()
    assert await folder.looked() == [("info", "notices_reloaded: new none: gone upkeep v1")]
    assert folder.in_force == []


async def test_a_config_map_that_swaps_its_link_is_seen(tmp_path: Path) -> None:
    for number, name in enumerate(("..1", "..2"), 1):
        version = tmp_path / name
        version.mkdir()
        text = NOTICE.format(name="upkeep", version=number, category="maintenance", at=PAST)
        (version / "upkeep.toml").write_text(text, "utf-8")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "upkeep.toml").symlink_to("..data/upkeep.toml")
    watch = NoticesReloader([tmp_path], ManualClock())
    (tmp_path / "..swap").symlink_to("..2")
    (tmp_path / "..swap").replace(tmp_path / "..data")
    await watch.look()
    assert [notice.version for notice in watch.notices.all] == [2]


async def test_each_fault_is_reported_once_and_the_old_ones_stay(folder: Folder) -> None:
    folder.write("upkeep", 0, "fun")
    received = await folder.looked()
    path = folder.path / "upkeep.toml"
    word = "category is fun, but must be 'privacy', 'security' or 'maintenance'"
    assert received == [
        ("error", f"notices_reload_failed: fault Notice {path}: {fault}.")
        for fault in ("version is 0, but must be at least 1", word)
    ]
    assert (await folder.looked(), folder.in_force) == ([], [("upkeep", 1)])
    folder.write("upkeep", 0)
    assert len(await folder.looked()) == 1, "another fault"
    assert folder.watch.is_stale
    assert await folder.watch.look() == "notices", "also when it was reported before"
    folder.write("upkeep")
    assert await folder.looked() == [("info", "notices_reloaded: new none: gone none")]
    assert await folder.watch.look() is None
    assert not folder.watch.is_stale


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: (path / "upkeep.toml").unlink() or path.rmdir(),
        lambda path: (path / "other.toml").write_text((path / "upkeep.toml").read_text("utf-8"), "utf-8"),
        lambda path: (path / "gone.toml").symlink_to("nowhere"),
    ],
    ids=["no folder", "twice the same id", "a dangling link"],
)
async def test_whatever_is_wrong_the_old_ones_stay(folder: Folder, spoil: Callable[[Path], object]) -> None:
    spoil(folder.path)
    (line,) = await folder.looked()
    assert (line[0], folder.in_force) == ("error", [("upkeep", 1)])


@pytest.mark.parametrize(
    ("category", "at", "warned"),
    [("privacy", PAST, True), ("privacy", FUTURE, False), ("security", PAST, False)],
)
async def test_a_privacy_notice_that_takes_effect_unannounced_is_a_warning(
    folder: Folder, category: str, at: str, warned: bool
) -> None:
    folder.write("upkeep", 2, category, at)
    late = ("warning", "privacy_notice_late: new upkeep v2")
    assert (late in await folder.looked()) is warned
    folder.write("other")
    assert late not in await folder.looked(), "it has been reported"
    assert folder.in_force == [("other", 1), ("upkeep", 2)]
