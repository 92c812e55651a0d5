"""The configuration that tests of the composition root start from."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.app.config.settings import Settings
from gateway.app.config.sources import Configuration, load

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(32, 64))).decode()

SMALLEST = """\
[client]
host = "127.0.0.1"
port = 8080
insecure = true            # or certificate = "…", key = "…"
[ops]
host = "127.0.0.1"
port = 9090
[admin]
host = "127.0.0.1"
port = 9091
token = "…"                # or OSCC_GATEWAY__ADMIN__TOKEN_FILE
[bus]
url = "memory://"
[secrets]                  # made by `oscc-gateway keys`, shared by all nodes
sealing_keys = ["k1:…"]    # the first seals, all open
pseudonym_key = "…"        # never rotated
[[sites]]
id = "main"
url = "https://oscce.example"
display_name = "Main"
country = "DE"             # for remote numbers
"""
"""The smallest file of docs/operations.md, to the letter."""

SECRET = SMALLEST.replace("k1:…", f"k1:{KEY}").replace(
    'pseudonym_key = "…"', f'pseudonym_key = "{OTHER_KEY}"'
)
"""The same with secrets."""


def write(folder: Path, text: str) -> Path:
    """Write a configuration file."""
    path = folder / "gateway.toml"
    path.write_text(text, "utf-8")
    return path


def loaded(folder: Path, text: str = SMALLEST, **environ: str) -> Configuration:
    """Load a configuration from a file of *text*."""
    return load(write(folder, text), environ)


def cases(name: str) -> list[tuple[str, str]]:
    """Return what a file of this folder configures, and what is said about it."""
    text = Path(__file__).with_name(name).read_text("utf-8")
    found = list[tuple[str, str]]()
    for block in text.strip().split("\n\n")[1:]:
        given, said = block.split("\n→ ")
        found.append((given, said))
    return found


ANY_PORT = {f"OSCC_GATEWAY__{section}__PORT": "0" for section in ("CLIENT", "OPS", "ADMIN")}

LOG_ON: dict[str, Any] = {
    "site": "main",
    "application": "dashboard",
    "user_name": "supervisor1",
    "password": "demo",
    "device": {"id": "d", "name": "test", "platform": "desktop", "app_version": "1"},
}


def settings_for(upstream: str, **sections: Mapping[str, object]) -> Settings:
    """Return the settings of a node on free ports before one server, with more of some *sections*."""
    usual: dict[str, Mapping[str, object]] = {
        "client": {"port": 0, "insecure": True},
        "ops": {"port": 0},
        "admin": {"port": 0},
    }
    site = {"id": "main", "url": upstream, "display_name": "Main", "country": "DE"}
    merged = {name: {**usual.get(name, {}), **sections.get(name, {})} for name in usual | sections}
    return Settings.model_validate({**merged, "sites": [site]})
