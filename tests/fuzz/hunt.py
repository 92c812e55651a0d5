"""Fuzzer: search for bytes that break an oracle.

A coverage-guided search with Atheris, from the inputs that are kept. One oracle, until it is broken
or the time is over: `python -m tests.fuzz.hunt websocket build/fuzz 60`. What is new stays below the
folder, and `--keep` instead of the seconds adds to the corpus what reaches further than it did.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import atheris  # only `make fuzz` has it

from tests.fuzz import corpus

with atheris.instrument_imports(
    include=[
        "gateway.protocol",
        "gateway.upstream",
        "gateway.edge.policies",
        "gateway.edge.credentials",
        "json",
    ]
):
    from tests.fuzz.oracles import ORACLES, kinds_said
from tests.fuzz.reframe import reframe
from tests.fuzz.reshape import reshape_json, reshape_msgpack
from tests.fuzz.retoken import retoken
from tests.fuzz.words import words

BYTES_MAX = 4096


def unpack(name: str, folder: Path) -> None:
    """Write a corpus as the files that the search reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in corpus.load(name):
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def by_search(payload: bytes, most: int) -> bytes:
    return bytes(atheris.Mutate(payload, most))


CHANGES: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "websocket": lambda data, seed: reframe(data, by_search, seed),
    "json": reshape_json,
    "msgpack": reshape_msgpack,
    "log_on": reshape_json,
    "token": lambda data, seed: retoken(data, by_search, seed),
    "link": reshape_json,
    "server": lambda data, seed: reframe(data, by_search, seed, mask_bytes=0),
}
"""Name of a corpus → how its inputs are changed and stay what they are."""


def search(name: str, *options: str) -> None:
    """Hand over to the search, which ends the process."""

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        if seed % 2:
            return bytes(atheris.Mutate(data, max_size))
        return CHANGES[name](data, seed)[:max_size]

    # to merge, the fuzzer starts itself again by its name
    me = f"{sys.executable} -m tests.fuzz.hunt {name} . --as-told"
    atheris.Setup([me, *options], ORACLES[name], custom_mutator=change)
    atheris.Fuzz()


def hunt(name: str, found: Path, seconds: str) -> None:
    """Search for *seconds*; the process ends with the search, in an error when a promise is broken."""
    unpack(name, found / name)
    dictionary = found / f"{name}.words"
    dictionary.write_text("".join(f'"{escaped(word)}"\n' for word in words(name)), "ascii")
    search(
        name,
        str(found / name),
        f"-max_total_time={seconds}",
        f"-max_len={BYTES_MAX}",
        "-timeout=60",
        "-print_final_stats=1",
        f"-artifact_prefix={found}/{name}-broken-",
        *([f"-dict={dictionary}"] if words(name) else []),
    )


def keep(name: str, found: Path) -> None:
    """Add to the corpus the fewest inputs that reach what it does not reach.

    And what reaches nothing more but says another kind of frame.
    """
    unpack(name, found / name)
    with tempfile.TemporaryDirectory() as folder:
        unpack(name, Path(folder))
        options = ["-merge=1", f"-max_len={BYTES_MAX}", folder, str(found / name)]
        merge = [sys.executable, "-m", "tests.fuzz.hunt", name, ".", "--as-told", *options]
        subprocess.run(merge, check=True)
        kept, every = contents(Path(folder)), contents(found / name)
        kept += kinds_said(name, every).values()
        corpus.save(name, kept)


def contents(folder: Path) -> list[bytes]:
    """Return what is in the files of *folder*, the shortest first."""
    return sorted((path.read_bytes() for path in folder.iterdir()), key=len)


def escaped(word: bytes) -> str:
    """Return *word* as a dictionary of the search has it."""
    return "".join(f"\\x{byte:02x}" for byte in word)


def main(name: str, folder: str, how: str, *rest: str) -> None:
    found = Path(folder)
    if how == "--keep":
        keep(name, found)
    elif how == "--as-told":
        search(name, *rest)
    else:
        hunt(name, found, how)


if __name__ == "__main__":
    main(*sys.argv[1:])
