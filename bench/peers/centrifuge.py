"""Centrifuge: built from Debian's library, with its protocol."""

from pathlib import Path

from bench.peer import Peer
from bench.peers import installing

PACKAGES = (
    "golang-go",
    "golang-github-centrifugal-centrifuge-dev",
    # its dependencies, some of which the Debian package does not declare
    "golang-github-centrifugal-protocol-dev",
    "golang-github-fzambia-eagle-dev",
    "golang-github-igm-sockjs-go-dev",
    "golang-github-mna-redisc-dev",
)


def _prepare(folder: Path) -> bool:
    if not installing.debian(*PACKAGES):
        return False
    source, program = installing.SERVERS / "centrifuge.go", folder / "centrifuge"
    # Debian installs its Go libraries as a GOPATH, so no module is downloaded
    environment = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}
    command = ("go", "build", "-o", str(program), str(source))
    return installing.built(source, program, command, environment)


CENTRIFUGE = Peer(
    name="centrifuge",
    about="Centrifuge 0.15 (Go, Debian)",
    prepare=_prepare,
    command=lambda folder, port: (str(folder / "centrifuge"), str(port)),
    path="/connection/websocket",
    # methods: 1 is subscribe, 3 is publish, none is connect
    subscribe=(
        "--send",
        '{"id":1}',
        "--send",
        '{"id":2,"method":1,"params":{"channel":"t%m"}}',
        "--reply-ping",
    ),
    publish=("--pub-send", '{"id":1}', "--pub", '{"id":2,"method":3,"params":{"channel":"t%m","data":%M}}'),
)
