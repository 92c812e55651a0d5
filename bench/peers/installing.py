"""Installation of a peer: from Debian, PyPI, npm, or its own source.

Each function installs only what is missing, so that a second call costs nothing. On failure it prints the
reason to standard error and returns False; the benchmark goes on with the other peers.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

SERVERS = Path(__file__).parent / "servers"
LOCK = Path(__file__).parents[2] / "requirements" / "bench-peers.txt"
PATIENCE_S = 600
"""Time limit of one command, downloads included."""

_ENTRY = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==.*(?:\n[ \t]+.*)*", re.MULTILINE)


def locked(lock: str, *names: str) -> str:
    """Return the entries of ``names`` in a lock file, with their hashes, in the file's order.

    Raises:
        KeyError: A name is not in the lock.
    """
    entries = {entry["name"]: entry.group() for entry in _ENTRY.finditer(lock)}
    missing = [name for name in names if name not in entries]
    if missing:
        raise KeyError(*missing)
    return "".join(f"{entry}\n" for name, entry in entries.items() if name in names)


def missing_packages(listed: str, wanted: Iterable[str]) -> list[str]:
    """Return the ``wanted`` Debian packages that are not installed, from ``dpkg-query`` output."""
    rows = (line.partition(" ") for line in listed.splitlines())
    installed = {name.partition(":")[0] for name, _, state in rows if state == "installed"}
    return [name for name in wanted if name not in installed]


def debian(*packages: str) -> bool:
    """Install missing Debian packages, which only root can do; returns whether all are there."""
    if shutil.which("dpkg-query") is None or shutil.which("apt-get") is None:
        return _cannot(f"this is no Debian: {' '.join(packages)}")
    form = "${binary:Package} ${db:Status-Status}\n"
    listed = _run(["dpkg-query", "--show", f"--showformat={form}"])
    missing = missing_packages(listed.stdout, packages)
    if not missing:
        return True
    if os.geteuid() != 0:
        return _cannot(f"only root can install {' '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "--option", "DPkg::Lock::Timeout=120"]
    install = [*apt, "install", "--yes", "--no-install-recommends", *missing]
    return _did([*apt, "update"], quiet) and _did(install, quiet)


def python(folder: Path) -> bool:
    """Install the Python peers into a virtual environment, ``folder/python``, by their lock."""
    home = folder / "python"
    lock = LOCK.read_text("utf-8")
    stamp = home / f"locked-{_digest(lock)}"
    if stamp.exists():
        return True
    shutil.rmtree(home, ignore_errors=True)
    if not _did([sys.executable, "-m", "venv", str(home)]):
        return False
    # socketify is published as source only: its build tools are installed first, also by hash
    tools = home / "tools.txt"
    tools.write_text(locked(lock, "setuptools"), "utf-8")
    install = [str(home / "bin/python"), "-m", "pip", "--quiet", "install", "--require-hashes", "--no-deps"]
    if not _did([*install, "-r", str(tools)]):
        return False
    if not _did([*install, "--no-build-isolation", "-r", str(LOCK)]):
        return False
    stamp.touch()
    return True


def node(folder: Path) -> bool:
    """Install the Node peers' packages beside their programs in ``folder/node``, by their lock."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return _cannot("neither node nor npm is here")
    home = folder / "node"
    shutil.copytree(SERVERS / "node", home, dirs_exist_ok=True)
    stamp = home / f"locked-{_digest((home / 'package-lock.json').read_text('utf-8'))}"
    if stamp.exists():
        return True
    if not _did(["npm", "ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=home):
        return False
    stamp.touch()
    return True


def built(source: Path, program: Path, command: Iterable[str], environment: Mapping[str, str] = {}) -> bool:
    """Build ``program`` from ``source`` by ``command``, unless it is newer."""
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return True
    program.parent.mkdir(parents=True, exist_ok=True)
    return _did(command, environment)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _did(command: Iterable[str], environment: Mapping[str, str] = {}, cwd: Path | None = None) -> bool:
    words = list(command)
    try:
        done = _run(words, environment, cwd)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _cannot(f"{' '.join(words)} failed: {error}")
    if done.returncode == 0:
        return True
    return _cannot(f"{' '.join(words)} failed: {done.stderr.strip()[-2000:]}")


def _run(
    command: list[str], environment: Mapping[str, str] = {}, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - all words are this package's own
        command,
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def _cannot(reason: str) -> bool:
    print(f"bench: {reason}", file=sys.stderr)
    return False
