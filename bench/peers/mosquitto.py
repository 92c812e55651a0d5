"""Mosquitto: MQTT over WebSocket."""

from pathlib import Path

from bench.peer import Peer
from bench.peers import installing

MESSAGE_BYTES = 300
"""Size of all messages: the load generator cannot compute MQTT's length fields."""

TOPIC_BYTES = len("t00000")


def settings(port: int) -> str:
    """Return the broker's configuration: one WebSocket listener, anonymous access, error log."""
    return f"""listener {port} 127.0.0.1
protocol websockets
allow_anonymous true
log_type error
set_tcp_nodelay true
"""


def remaining_length(length: int) -> str:
    """Return a length field of MQTT 3.1.1 (section 2.2.3) in the load generator's escapes."""
    digits = []
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return "".join(f"\\x{digit:02x}" for digit in digits)


# MQTT 3.1.1, a clean session without a client identifier, no keep-alive
_CONNECT = r"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00"
_TOPIC = rf"\x00\x{TOPIC_BYTES:02x}t%m"
_SUBSCRIBE = rf"\x82{remaining_length(2 + 2 + TOPIC_BYTES + 1)}\x00\x01{_TOPIC}\x00"
_PUBLISH = rf"\x30{remaining_length(2 + TOPIC_BYTES + MESSAGE_BYTES)}{_TOPIC}%M"


def _command(folder: Path, port: int) -> tuple[str, ...]:
    written = folder / f"mosquitto-{port}.conf"
    written.write_text(settings(port), "utf-8")
    return ("mosquitto", "-c", str(written))


def _prepare(folder: Path) -> bool:
    folder.mkdir(parents=True, exist_ok=True)
    return installing.debian("mosquitto")


MOSQUITTO = Peer(
    name="mosquitto",
    about="mosquitto 2.0, MQTT over WebSocket (C, Debian)",
    prepare=_prepare,
    command=_command,
    path="/mqtt",
    subscribe=("--subproto", "mqtt", "--sendb", _CONNECT, "--sendb", _SUBSCRIBE),
    publish=("--pub-bin", "--pub-sendb", _CONNECT, "--pub", _PUBLISH),
)
