"""Of what does an installed gateway consist? The lock, told as a bill of materials (CycloneDX 1.6).

The lock says every package, its version, the hashes of the files that may be installed, and who asked for
it; so the bill needs no network and no environment, and the same lock always gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple

import gateway

ROOT: Final = Path(__file__).parents[2]
LOCK: Final = ROOT / "requirements" / "runtime.txt"
_PIN: Final = re.compile(
    r"^(?P<name>[a-z0-9][a-z0-9._-]*)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+))?"
)
_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")
_ASKED: Final = re.compile(r"^\s+#(?: via)?\s+(?!-c |-r )(?P<name>[a-z0-9][a-z0-9._-]*)(?: \(.*\))?\s*$")


class Package(NamedTuple):
    """One entry of the lock."""

    name: str
    version: str
    marker: str | None
    hashes: tuple[str, ...]
    asked_by: tuple[str, ...]
    """Names of packages, the project among them."""


def packages(lock: str) -> list[Package]:
    """Return the entries of a lock.

    Raises:
        ValueError: Something is locked without a hash.
    """
    found: list[Package] = []
    for entry in re.split(r"^(?=[a-z0-9][^\n]*==)", lock, flags=re.MULTILINE)[1:]:
        pin = _PIN.match(entry)
        hashes = tuple(_HASH.findall(entry))
        if pin is None or not hashes:
            raise ValueError(f"{entry.partition(chr(10))[0]!r} is not locked by hashes")
        asked = tuple(each["name"] for line in entry.splitlines() if (each := _ASKED.match(line)))
        marker = pin["marker"]
        found.append(Package(pin["name"], pin["version"], marker and marker.strip(), hashes, asked))
    return found


def bill(lock: str, name: str, version: str, licence: str) -> dict[str, Any]:
    """Return the bill of materials of the project *name*, which *lock* belongs to."""
    root = f"pkg:pypi/{name}@{version}"
    known = packages(lock)
    refs = {name: root, **{each.name: _ref(each) for each in known}}
    needs: dict[str, list[str]] = {ref: [] for ref in refs.values()}
    for each in known:
        for parent in each.asked_by:
            if parent in refs:
                needs[refs[parent]].append(_ref(each))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": name,
                "version": version,
                "purl": root,
                "licenses": [{"license": {"id": licence}}],
            }
        },
        "components": [_component(each) for each in known],
        "dependencies": [{"ref": ref, "dependsOn": sorted(set(on))} for ref, on in sorted(needs.items())],
    }


def _ref(package: Package) -> str:
    return f"pkg:pypi/{package.name}@{package.version}"


def _component(package: Package) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _ref(package),
        "name": package.name,
        "version": package.version,
        "purl": _ref(package),
        "hashes": [{"alg": "SHA-256", "content": each} for each in package.hashes],
    }
    if package.marker is not None:
        component["properties"] = [{"name": "python:marker", "value": package.marker}]
    return component


def text() -> str:
    """Return the bill of this project as it is written."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    made = bill(LOCK.read_text("utf-8"), project["name"], gateway.__version__, project["license"])
    return json.dumps(made, indent=1) + "\n"


def main() -> int:
    """Write it to the file that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    file: Path = parser.parse_args().file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text(), "utf-8")
    print(f"wrote {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
