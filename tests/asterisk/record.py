"""Record what an Asterisk says on AMI, in the format of ``transcripts/``.

``ASTERISK=host:port ASTERISK_USER=… ASTERISK_SECRET=… python -m tests.asterisk.record SECONDS TITLE``
writes the recording to standard output. Each line of standard input is an action at its second:
``2.5 QueuePause Interface=Local/ana@oscc-remote/n|Paused=true``, or the narrator's word: ``3 # a caller``.
Secrets, numbers and names of callers are blotted out.
"""

from __future__ import annotations

import os
import re
import socket
import sys

from gateway.runtime.event_loop import SystemClock

_CLOCK = SystemClock()
_BLOT = re.compile(
    r"^((?:Secret|Key|(?:Dest)?(?:CallerID|ConnectedLine)(?:Num|Name)): )(?!<unknown>$).+$", re.MULTILINE
)


def blotted(message: str) -> str:
    """Return a message without secrets and callers."""
    return _BLOT.sub(r"\1***", message)


def write(block: str) -> None:
    """Write a block and the empty line that ends it."""
    sys.stdout.write(f"{block}\n\n")
    sys.stdout.flush()


class Recorder:
    """One AMI connection; what is sent and received goes to standard output."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._began = _CLOCK.now()
        self._rest = b""
        self._count = 0

    @property
    def at_s(self) -> float:
        """Seconds since the beginning."""
        return _CLOCK.now() - self._began

    def say(self, action: str, *fields: str) -> None:
        """Send an action; *fields*: ``Name=value``."""
        self._count += 1
        lines = [f"Action: {action}", *(": ".join(one.split("=", 1)) for one in fields)]
        text = "\n".join([*lines, f"ActionID: {self._count}"])
        self._socket.sendall((text.replace("\n", "\r\n") + "\r\n\r\n").encode())
        write(f"> {self.at_s:.3f}\n{blotted(text)}")

    def listen(self, until_s: float) -> None:
        """Write what is received until that second."""
        while (left := until_s - self.at_s) > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(65_536)
            except TimeoutError:
                return
            if not data:
                write(f"# {self.at_s:.3f} the connection is closed by Asterisk")
                raise SystemExit
            if not self._count:
                data = data.replace(b"\r\n", b"\r\n\r\n", 1)  # the greeting is a line by itself
            *messages, self._rest = (self._rest + data).split(b"\r\n\r\n")
            for message in messages:
                text = message.decode("utf-8", "replace").replace("\r\n", "\n")
                write(f"< {self.at_s:.3f}\n{blotted(text)}")


def main() -> None:
    """Record a scene."""
    host, _, port = os.environ["ASTERISK"].partition(":")
    recorder = Recorder(host, int(port))
    write(f"# {sys.argv[2]}")
    recorder.listen(0.2)
    user, secret = os.environ["ASTERISK_USER"], os.environ["ASTERISK_SECRET"]
    recorder.say("Login", f"Username={user}", f"Secret={secret}")
    for line in [] if sys.stdin.isatty() else sys.stdin:
        at, *words = line.strip().split(" ", 2)
        recorder.listen(float(at))
        if words[0] == "#":
            write(f"# {recorder.at_s:.3f} {line.partition('#')[2].strip()}")
        else:
            recorder.say(words[0], *(words[1].split("|") if len(words) > 1 else ()))
    recorder.listen(float(sys.argv[1]))


if __name__ == "__main__":
    main()
