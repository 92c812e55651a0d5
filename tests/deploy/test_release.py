"""Release: its content, and builds that are equal to the byte."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import gateway
from docs._generate import release
from tests.deploy.helm_programs import helm
from tests.deploy.manifests import CHART, values_file
from tests.deploy.programs import ROOT, ask

VERSION = gateway.__version__


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release, without its image."""
    folder = tmp_path_factory.mktemp("release") / "dist"
    release.release(folder, with_image=False)
    return folder


def chart_archive(dist: Path) -> Path:
    (found,) = dist.glob("oscc-gateway-[0-9]*.tgz")
    return found


def npm_archive(dist: Path) -> Path:
    (found,) = dist.glob("oscc-gateway-client-*.tgz")
    return found


def test_it_is_complete_and_its_checksums_hold(dist: Path) -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))["version"]
    assert {path.name for path in dist.iterdir()} == {
        f"oscc_gateway-{VERSION}-py3-none-any.whl",
        f"oscc_gateway-{VERSION}.tar.gz",
        f"oscc-gateway-{VERSION}.cdx.json",
        f"oscc-gateway-{chart}.tgz",
        f"oscc_gateway_client-{VERSION}-py3-none-any.whl",
        f"oscc-gateway-client-{chart}.tgz",
        release.SUMS,
    }
    for line in (dist / release.SUMS).read_text("ascii").splitlines():
        found, name = line.split("  ")
        assert hashlib.sha256((dist / name).read_bytes()).hexdigest() == found


def test_two_builds_give_the_same_bytes(dist: Path, tmp_path: Path) -> None:
    again = tmp_path / "elsewhere" / "dist"
    release.release(again, with_image=False)
    for path in dist.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_wheel_has_the_gateway_alone_and_its_revision(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("oscc_gateway-*.whl"))) as wheel:
        names = wheel.namelist()
        assert {name.partition("/")[0] for name in names} == {"gateway", f"oscc_gateway-{VERSION}.dist-info"}
        assert wheel.read("gateway/revision.txt").decode().strip() == release.revision()
        assert "gateway/web/oscc-client.js" in names


def test_the_wheel_of_the_sdk_is_a_client_without_a_gateway(dist: Path, tmp_path: Path) -> None:
    (path,) = dist.glob("oscc_gateway_client-*.whl")
    with zipfile.ZipFile(path) as wheel:
        there = {name for name in wheel.namelist() if not name.partition("/")[0].endswith(".dist-info")}
        assert {"gateway/revision.txt", "gateway/client/client.py", "gateway/py.typed"} <= there
        assert {name.split("/")[1] for name in there if name.count("/") > 1} == {
            "client",
            "domain",
            "protocol",
        }
        about = wheel.read(f"oscc_gateway_client-{VERSION}.dist-info/METADATA").decode()
        wheel.extractall(tmp_path)  # noqa: S202 - an archive of our own
    needs = set(re.findall(r"(?m)^Requires-Dist: ([\w-]+)", about))
    names = (
        "aiohttp cryptography msgpack msgspec phonenumbers prometheus_client pydantic redis rich structlog"
    )
    program = f"""import sys, gateway.client
print(gateway.__file__)
print(*{{name.partition('.')[0] for name in sys.modules}} & set({names!r}.split()))"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    file, used = done.stdout.splitlines()
    assert Path(file).is_relative_to(tmp_path)
    assert set(used.split()) == needs


def test_npm_installs_the_package_and_node_imports_it(dist: Path, tmp_path: Path) -> None:
    archive = npm_archive(dist)
    with tarfile.open(archive) as found:
        assert set(found.getnames()) == {
            f"package/{name}"
            for name in ("LICENSE", "README.md", "package.json", "oscc-client.js", "oscc-client.d.ts")
        }
    npm, node = (shutil.which(name) for name in ("npm", "node"))
    if npm is None or node is None:
        pytest.skip("no npm on this machine")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    offline = ["install", "--offline", "--no-audit", "--no-fund", "--cache", str(tmp_path / "cache")]
    done = subprocess.run(
        [npm, *offline, str(archive)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    program = "import {connect, logOn} from 'oscc-gateway-client'; console.log(typeof connect, typeof logOn)"
    run = [node, "--input-type=module", "--eval", program]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("function function", "")
    there = tmp_path / "node_modules" / "oscc-gateway-client"
    assert (there / "oscc-client.d.ts").read_bytes() == (ROOT / "gateway/web/oscc-client.d.ts").read_bytes()


def test_an_sdist_has_what_is_needed_to_check_it(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"Makefile", "pyproject.toml", "requirements/runtime.txt", "helm/oscc-gateway/Chart.yaml"} <= names
    assert {"tests/conftest.py", "bench/__main__.py", "deploy/Dockerfile", "gateway/revision.txt"} <= names


def test_helm_takes_the_packed_chart_as_the_folder(dist: Path) -> None:
    archive = chart_archive(dist)
    for major in ("3", "4"):
        said = ask(helm(major), "lint", "--strict", "--quiet", "--values", values_file("least"), archive)
        assert (said.code, said.text.strip()) == (0, "")
        packed, plain = (
            ask(helm(major), "template", "demo", chart, "--values", values_file("ingress-tls")).text
            for chart in (archive, CHART)
        )
        assert packed == plain
    with tarfile.open(archive) as found:
        names = found.getnames()
    assert names[0] == "oscc-gateway/Chart.yaml"
    assert "oscc-gateway/README.md" in names
    assert not [name for name in names if "/ci/" in name]


def test_it_has_the_files_that_helm_would_pack(dist: Path, tmp_path: Path) -> None:
    assert ask(helm("4"), "package", CHART, "--destination", tmp_path).code == 0
    with tarfile.open(chart_archive(tmp_path)) as theirs, tarfile.open(chart_archive(dist)) as ours:
        assert set(theirs.getnames()) == set(ours.getnames())


def test_the_bill_is_of_this_version(dist: Path) -> None:
    bill = json.loads((dist / f"oscc-gateway-{VERSION}.cdx.json").read_text("utf-8"))
    assert bill["metadata"]["component"]["version"] == VERSION


# ---- one version, in one place ----


def test_the_chart_has_the_same_version_as_semantic_versioning_writes_it() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert chart["appVersion"] == VERSION
    assert chart["version"] == re.sub(r"rc(\d+)$", r"-rc.\1", VERSION)


def test_the_changelog_knows_it() -> None:
    assert re.search(rf"(?m)^## \[{re.escape(VERSION)}\]", (ROOT / "CHANGELOG.md").read_text("utf-8"))


def test_the_changelog_has_each_entry_once() -> None:
    entries = re.findall(r"(?m)^- .+", (ROOT / "CHANGELOG.md").read_text("utf-8"))
    assert sorted({entry for entry in entries if entries.count(entry) > 1}) == []


# ---- the image ----


def test_a_machine_without_a_builder_gets_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(release, "builder", lambda: None)
    received = release.build_image(tmp_path, tmp_path)
    assert received.startswith("no image: this machine has no builder")
    assert f"--build-arg REVISION={release.revision()}" in received


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_an_image_is_labelled_with_version_revision_and_time_of_the_commit(name: str, tmp_path: Path) -> None:
    commands = list(release.image_commands(name, tmp_path, tmp_path / "image.oci.tar"))
    words = " ".join(word for command in commands for word in command)
    for wanted in (f"VERSION={VERSION}", f"REVISION={release.revision()}", str(release.build_time())):
        assert wanted in words
    assert f"{tmp_path}/image.oci.tar" in words


# ---- pipelines ----

PIPELINES = sorted([*(ROOT / ".github" / "workflows").glob("*.yml"), ROOT / ".gitlab-ci.yml"])


def commands(node: object) -> list[str]:
    """Return the commands of a pipeline, however deep they stand."""
    if isinstance(node, dict):
        own = [node["run"]] if isinstance(node.get("run"), str) else []
        own += [word for word in node.get("script", []) if isinstance(word, str)]
        return own + [found for value in node.values() for found in commands(value)]
    return [found for value in node for found in commands(value)] if isinstance(node, list) else []


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.name)
def test_pipelines_do_nothing_but_call_make(file: Path) -> None:
    found = commands(yaml.safe_load(file.read_text("utf-8")))
    assert found
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8")))
    for command in found:
        match = re.fullmatch(r"make ([a-z-]+)( [A-Z_]+=\S+)*", command)
        assert match is not None, command
        assert match[1] in targets
