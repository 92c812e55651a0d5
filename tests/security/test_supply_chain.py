"""Dependencies are locked by hashes, without named hosts, and on the bill of materials."""

from __future__ import annotations

import json
import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from docs._generate import sbom

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
ADDRESS = re.compile(r"https?://|^\s*-(?!-hash=sha256:)\S+", re.MULTILINE)
"""An address, or any option that is no hash."""


def faults(lock: str) -> list[str]:
    found = [f"an address: {each.group()}" for each in ADDRESS.finditer(lock)]
    for entry in re.split(r"\n(?=[^\s#])", "\n" + lock):
        line = entry.strip().partition("\n")[0]
        if line and not line.startswith("#"):
            pinned = re.match(r"[A-Za-z0-9._-]+(\[[^]]*\])?==\S+", line)
            found += [] if pinned else [f"not one version: {line}"]
            found += [] if "--hash=sha256:" in entry else [f"no hash: {line}"]
    return found


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_requirement_is_locked_by_hashes_and_names_no_place(path: Path) -> None:
    assert faults(path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    "fault",
    [
        "left==1.0\n    # via x\n",
        "left>=1.0 \\\n    --hash=sha256:00\n",
        "-i https://elsewhere.example\n",
        "-e elsewhere\n",
        "left @ https://elsewhere.example/left.whl \\\n    --hash=sha256:00\n",
        "-f here\n",
    ],
)
def test_a_lock_with_a_fault_is_found(fault: str) -> None:
    sound = (ROOT / "requirements/runtime.txt").read_text("utf-8")
    assert faults(sound + fault) != []


def test_the_makefile_installs_nothing_without_hashes() -> None:
    recipes = (ROOT / "Makefile").read_text("utf-8")
    installs = re.findall(r"\$\(PIP\) install [^\n]*", recipes)
    assert len(installs) >= 4
    assert [line for line in installs if "--require-hashes" not in line and "--editable ." not in line] == []


def test_the_node_peers_of_the_benchmark_are_locked_by_hash_and_to_no_host() -> None:
    lock = json.loads((ROOT / "bench/peers/servers/node/package-lock.json").read_text("utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert {"node_modules/ws", "node_modules/socket.io"} <= packages.keys()
    assert [name for name, entry in packages.items() if "resolved" in entry or "integrity" not in entry] == []


def test_the_bill_is_what_the_schema_asks_for_and_always_the_same() -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(sbom.text()) is None
    assert sbom.text() == sbom.text()


def test_a_bill_with_a_fault_is_found() -> None:
    made = json.loads(sbom.text())
    made["components"][0]["type"] = "something"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(made)) is not None


def test_the_bill_has_every_locked_package_with_who_asked_for_it() -> None:
    made = json.loads(sbom.text())
    names = {each["name"] for each in made["components"]}
    locked = re.findall(r"^([a-z0-9._-]+)==", sbom.LOCK.read_text("utf-8"), re.MULTILINE)
    assert (names, len(made["components"])) == (set(locked), len(locked))
    reached, left = set(), [made["metadata"]["component"]["bom-ref"]]
    needs = {each["ref"]: each["dependsOn"] for each in made["dependencies"]}
    while left:
        ref = left.pop()
        if ref not in reached:
            reached.add(ref)
            left += needs[ref]
    assert {each["bom-ref"] for each in made["components"]} <= reached, "nobody asked for some"


def test_what_is_installed_is_what_the_bill_says() -> None:
    versions = {each.metadata["Name"].lower().replace("_", "-"): each.version for each in distributions()}
    made = json.loads(sbom.text())
    received = {each["name"]: each["version"] for each in made["components"]}
    assert {name: versions[name] for name in received if name in versions} == {
        name: version for name, version in received.items() if name in versions
    }


def test_what_is_locked_without_a_hash_is_on_no_bill() -> None:
    with pytest.raises(ValueError, match=r"'left==1\.0' is not locked by hashes"):
        sbom.packages("left==1.0\n    # via oscc-gateway\n")
