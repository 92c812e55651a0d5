"""Build a release: wheels, sdist, npm package, bill, chart, image and checksums, the same bytes every time.

``python -m docs._generate.release dist`` builds what is tracked in this checkout, as it is now. With
``--check`` it builds all but the image twice, in different folders, and fails when the bytes differ.
"""

from __future__ import annotations

import argparse
import fnmatch
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

import gateway
from docs._generate import sbom

ROOT: Final = Path(__file__).parents[2]
CHART: Final = Path("helm") / "oscc-gateway"
REVISION: Final = Path("gateway") / "revision.txt"
SDK: Final = Path("deploy") / "sdk"
SUMS: Final = "SHA256SUMS"
NO_BUILDER: Final = (
    "no image: this machine has no builder (podman, buildah, or docker with a daemon that answers). Build "
    "it elsewhere: docker build --file deploy/Dockerfile --build-arg REVISION={revision} "
    "--tag oscc-gateway:{version} ."
)


class ReleaseError(Exception):
    """What keeps a release from being built; its text is for the person who asked."""


def git(*words: str) -> str:
    """Return what git says of this checkout."""
    command = ["git", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - words of our own
    if done.returncode:
        raise ReleaseError(f"git {words[0]} failed: a release is built from a checkout of the repository.")
    return done.stdout


def revision() -> str:
    """Return the commit that is built, with a mark when tracked files differ from it."""
    changed = git("status", "--porcelain", "--untracked-files=no").strip()
    return git("rev-parse", "HEAD").strip() + ("-changed" if changed else "")


def build_time() -> int:
    """Return the time that everything built bears: SOURCE_DATE_EPOCH, else that of the commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given) if given else int(git("log", "-1", "--format=%ct").strip())


def stage(folder: Path) -> Path:
    """Copy what is tracked into *folder*, with the revision in it; modes do not depend on the umask."""
    for name in git("ls-files", "-z").split("\0"):
        source = ROOT / name
        if not name or not source.is_file():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
    (folder / REVISION).write_text(f"{revision()}\n", "ascii")
    (folder / REVISION).chmod(0o644)
    return folder


def build_python(source: Path, dist: Path) -> None:
    """Build wheel and sdist, and the wheel of the SDK; hatchling writes the same bytes for the same time."""
    _hatchling(source, dist, "sdist", "wheel")
    _hatchling(source / SDK / "python", dist, "wheel")


def _hatchling(source: Path, dist: Path, *targets: str) -> None:
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(build_time()), "PYTHONPATH": ""}
    words = [sys.executable, "-m", "hatchling", "build", "-d", str(dist)]
    words += [word for target in targets for word in ("-t", target)]
    done = subprocess.run(words, cwd=source, env=environ, capture_output=True, text=True, check=False)  # noqa: S603 - words of our own
    if done.returncode:
        raise ReleaseError(f"hatchling failed:\n{done.stdout}{done.stderr}")


def build_npm(source: Path, dist: Path) -> None:
    """Pack the SDK for JavaScript as ``npm pack`` would, with the version of this release."""
    about = json.loads((source / SDK / "npm" / "package.json").read_text("utf-8"))
    about["version"] = semantic_version()
    files = {
        "LICENSE": (source / "LICENSE").read_bytes(),
        "README.md": (source / SDK / "npm" / "README.md").read_bytes(),
        **{name: (source / "gateway" / "web" / name).read_bytes() for name in about["files"]},
        "package.json": f"{json.dumps(about, indent=2)}\n".encode(),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o644, build_time()
            archive.addfile(entry, io.BytesIO(content))
    (dist / f"{about['name']}-{about['version']}.tgz").write_bytes(gzip.compress(packed.getvalue(), mtime=0))


def semantic_version() -> str:
    """Return the version as semantic versioning writes it: ``1.0.0-rc.1``."""
    return re.sub(r"rc(\d+)$", r"-rc.\1", gateway.__version__)


def chart_files(source: Path) -> Iterator[Path]:
    """Yield the chart's files as ``helm package`` would, in order, without what .helmignore names."""
    ignored = [line.rstrip("/") for line in (source / CHART / ".helmignore").read_text("utf-8").split()]
    for path in sorted((source / CHART).rglob("*")):
        parts = path.relative_to(source / CHART).parts
        if path.is_file() and not any(fnmatch.fnmatch(part, rule) for part in parts for rule in ignored):
            yield path


def build_chart(source: Path, dist: Path) -> None:
    """Pack the chart; Helm itself writes the time of packing into its archive."""
    about = yaml.safe_load((source / CHART / "Chart.yaml").read_text("utf-8"))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        # Helm wants Chart.yaml first
        for path in sorted(chart_files(source), key=lambda each: (each.name != "Chart.yaml", each)):
            entry = tarfile.TarInfo(str(Path(about["name"]) / path.relative_to(source / CHART)))
            entry.size, entry.mode, entry.mtime = path.stat().st_size, 0o644, build_time()
            with path.open("rb") as file:
                archive.addfile(entry, file)
    with (dist / f"{about['name']}-{about['version']}.tgz").open("wb") as file:
        file.write(gzip.compress(packed.getvalue(), mtime=0))


def build_bill(dist: Path) -> None:
    """Write the bill of materials."""
    (dist / f"oscc-gateway-{gateway.__version__}.cdx.json").write_text(sbom.text(), "utf-8")


def builder() -> str | None:
    """Return a program of this machine that builds images, or None."""
    for name, asks in (("podman", "info"), ("buildah", "info"), ("docker", "info")):
        program = shutil.which(name)
        if program is not None:
            done = subprocess.run([program, asks], capture_output=True, check=False)  # noqa: S603 - words of our own
            if done.returncode == 0:
                return name
    return None


def image_commands(name: str, source: Path, archive: Path) -> Iterator[list[str]]:
    """Yield the commands that build the image and write it as an OCI archive."""
    tag = f"oscc-gateway:{gateway.__version__}"
    common = ["--file", str(source / "deploy" / "Dockerfile")]
    common += ["--build-arg", f"VERSION={gateway.__version__}", "--build-arg", f"REVISION={revision()}"]
    time = str(build_time())
    if name == "docker":
        output = f"type=oci,dest={archive},rewrite-timestamp=true"
        epoch = ["--build-arg", f"SOURCE_DATE_EPOCH={time}"]
        yield ["docker", "buildx", "build", *common, *epoch, "--output", output, str(source)]
        return
    verb = ["build"] if name == "podman" else ["bud"]
    yield [name, *verb, *common, "--timestamp", time, "--tag", tag, str(source)]
    yield [name, "push", tag, f"oci-archive:{archive}"]


def build_image(source: Path, dist: Path) -> str:
    """Build the image where a builder is. Returns a sentence about it."""
    name = builder()
    if name is None:
        return NO_BUILDER.format(revision=revision(), version=gateway.__version__)
    archive = (dist / f"oscc-gateway-{gateway.__version__}.oci.tar").absolute()
    for words in image_commands(name, source, archive):
        if subprocess.run(words, check=False).returncode:  # noqa: S603 - words of our own
            raise ReleaseError(f"{' '.join(words[:2])} failed: the image was not built.")
    return f"image: {archive.name}, built by {name}"


def write_sums(dist: Path) -> str:
    """Write the checksums of all that was built, and return them."""
    files = sorted(path for path in dist.iterdir() if path.name != SUMS)
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
    (dist / SUMS).write_text(sums, "ascii")
    return sums


def release(dist: Path, *, with_image: bool) -> str:
    """Build everything into *dist*, which is emptied first. Returns what to tell."""
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="oscc-gateway-release-") as folder:
        source = stage(Path(folder))
        build_python(source, dist.absolute())
        build_npm(source, dist)
        build_chart(source, dist)
        build_bill(dist)
        told = build_image(source, dist) if with_image else "no image: not asked for"
    return f"{write_sums(dist)}{told}\n"


def differences() -> list[str]:
    """Build twice in different folders, and return the names of files whose bytes differ."""
    with tempfile.TemporaryDirectory() as folder:
        both = [Path(folder) / name for name in ("one", "the other")]
        for dist in both:
            release(dist, with_image=False)
        names = {path.name for dist in both for path in dist.iterdir()}
        return sorted(name for name in names if len({_bytes(dist / name) for dist in both}) > 1)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def main() -> int:
    """Build, or build twice and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path, nargs="?", default=ROOT / "dist", help="where to; dist")
    parser.add_argument("--check", action="store_true", help="build twice and compare; writes nothing")
    parser.add_argument("--no-image", action="store_true", help="leave the image out")
    args = parser.parse_args()
    try:
        if args.check:
            found = differences()
            print("\n".join(f"{name} differs" for name in found) or "two builds gave the same bytes")
            return 1 if found else 0
        print(release(args.dist, with_image=not args.no_image), end="")
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
