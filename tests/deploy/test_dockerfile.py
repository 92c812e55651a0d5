"""Dockerfile: valid, without root, with all files that it copies."""

from __future__ import annotations

import fnmatch
import http.server
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import gateway
from gateway.app.cli import COMMANDS, parser
from tests.deploy.programs import DEPLOY, ROOT, ask, carried

FILE = DEPLOY / "Dockerfile"


def steps() -> list[tuple[str, str]]:
    """Return the steps: the instruction, and what it is about, continued lines joined."""
    lines = [line for line in FILE.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).replace("${LOCK}", "runtime")
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def said(word: str) -> list[str]:
    return [rest for name, rest in steps() if name == word]


def stage(name: str) -> list[tuple[str, str]]:
    """Return the steps of a stage, those of the stage that it begins with before them."""
    found = steps()
    begins = [place for place, (word, _) in enumerate(found) if word == "FROM"]
    own = next(place for place in begins if found[place][1].endswith(f" AS {name}"))
    end = min([place for place in begins if place > own], default=len(found))
    base = found[own][1].split()[0]
    is_stage = any(found[place][1].endswith(f" AS {base}") for place in begins)
    return [*(stage(base) if is_stage else []), *found[own:end]]


def last_stage() -> list[tuple[str, str]]:
    """Return what the image is without ``--target``."""
    return stage([rest for word, rest in steps() if word == "FROM"][-1].split()[-1])


def test_without_a_target_it_is_a_node_and_with_one_the_simulator() -> None:
    assert last_stage() == stage("gateway")
    (command,) = [json.loads(rest) for word, rest in stage("simulator") if word == "CMD"]
    parser().parse_args(command)
    assert ("COPY", "--from=build /app /app") in stage("simulator")


def test_hadolint_finds_no_fault() -> None:
    assert ask(carried("hadolint"), "--failure-threshold", "style", FILE) == (0, "")


def test_hadolint_would_report_one(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text(FILE.read_text("utf-8").replace("WORKDIR /src", "WORKDIR src"), "utf-8")
    code, text = ask(carried("hadolint"), "--failure-threshold", "style", wrong)
    assert code != 0
    assert "DL3000" in text


def test_it_runs_as_a_number_that_is_not_root() -> None:
    (user,) = [rest for word, rest in last_stage() if word == "USER"]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert said("USER") == [user]


def test_nothing_is_built_where_it_runs() -> None:
    assert not [rest for word, rest in last_stage() if word in {"RUN", "ADD"}]
    assert [rest for word, rest in last_stage() if word == "COPY"] == ["--from=lean /app /app"]


@pytest.mark.takes(2)
def test_a_node_works_without_what_the_image_leaves_out(tmp_path: Path) -> None:
    (removal,) = [rest for rest in said("RUN") if "rm -r" in rest]
    removed = re.findall(r"/gateway/(\S+)", removal)
    assert "simulator" in removed
    shutil.copytree(ROOT / "gateway", tmp_path / "gateway")  # with what is compiled already
    for name in removed:
        path = tmp_path / "gateway" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        env = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
        command = [sys.executable, "-m", "gateway", *words]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    refused = run("simulate")  # whose message lists the commands, each with its options made
    assert refused.returncode == 2
    simulated = {"demo", "demo-cluster", "simulate"}
    # Python 3.12 and newer write them without quotes
    named = set(re.findall(r"[a-z-]+", refused.stderr.partition("choose from")[2]))
    for command in COMMANDS:
        assert (command in named) == (command not in simulated)
    refused = run("serve", "--config", "missing.toml")
    assert refused.returncode == 2
    assert "missing.toml" in refused.stderr


def test_what_is_installed_is_locked() -> None:
    runs = " && ".join(said("RUN"))
    installs = re.findall(r"pip (?:--python \S+ )?(?:install|wheel) [^&]*", runs)
    assert len(installs) == 4
    for install in installs:
        assert "--require-hashes" in install or "--no-index" in install, install


def test_its_locks_differ_by_what_sends_traces_alone() -> None:
    # an argument holds from where it stands to the end of its stage
    words = [word for word, _ in steps()]
    assert words.index("FROM") < steps().index(("ARG", "LOCK=runtime")) < words.index("COPY")
    files = [f"requirements/{name}.txt" for name in ("runtime", "otel")]
    locked = [set(re.findall(r"^(\S+)==", (ROOT / file).read_text("utf-8"), re.MULTILINE)) for file in files]
    assert locked[0] < locked[1]
    assert "opentelemetry-exporter-otlp-proto-http" in locked[1] - locked[0]


def test_it_names_no_host_and_is_of_this_gateway() -> None:
    assert not re.search(r"https?://(?!127\.0\.0\.1)", FILE.read_text("utf-8"))
    assert "PYTHON=python:3.13-slim-trixie" in said("ARG")
    assert f"VERSION={gateway.__version__}" in said("ARG")


def test_its_command_is_one() -> None:
    (entry,), (command,) = (
        [json.loads(rest) for word, rest in last_stage() if word == said_by]
        for said_by in ("ENTRYPOINT", "CMD")
    )
    assert entry == ["oscc-gateway"]
    assert str(parser().parse_args(command).config) == "/etc/oscc-gateway/gateway.toml"


# ---- what reaches the builder ----


def is_sent(path: str) -> bool:
    """Tell whether .dockerignore lets a file through: the last rule that fits decides."""
    sent = True
    for rule in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        pattern = rule.lstrip("!").removeprefix("**/")
        parents = [path, *map(str, Path(path).parents)]
        names = [*parents, *(Path(one).name for one in parents)] if "**/" in rule else parents
        if rule and not rule.startswith("#") and any(fnmatch.fnmatch(one, pattern) for one in names):
            sent = rule.startswith("!")
    return sent


def test_the_builder_gets_what_it_copies_and_no_more() -> None:
    copied = [word for rest in said("COPY") if "--from" not in rest for word in shlex.split(rest)[:-1]]
    assert len(copied) == 6
    for source in copied:
        assert (ROOT / source).exists()
        assert is_sent(source), source
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for path in listed.splitlines():
        wanted = path.startswith("requirements/") or any(
            path == one or path.startswith(f"{one}/") for one in copied
        )
        assert is_sent(path) == wanted, path
    for secret in (".git/config", ".venv/bin/python", "gateway.toml", "deploy/compose/secrets/tls.pem"):
        assert not is_sent(secret)


# ---- how it looks after itself ----


@contextmanager
def ops(status: int) -> Iterator[int]:
    """Be a node's ops listener that answers with *status*; gives its port."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "well"), [(200, True), (503, False)])
def test_its_health_is_the_nodes(status: int, *, well: bool) -> None:
    (check,) = said("HEALTHCHECK")
    python, *words = json.loads(check.partition("CMD ")[2])
    assert python == "python"
    with ops(status) as port:
        environ = {"OSCC_GATEWAY__OPS__PORT": str(port)}
        done = subprocess.run([sys.executable, *words], env=environ, capture_output=True, check=False)
    assert (done.returncode == 0) is well
