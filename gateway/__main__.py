"""``python -m gateway``, and the program ``oscc-gateway``."""

import os
import signal
import sys

INTERRUPTED = 130
"""As in shells: 128 and the number of SIGINT."""


def main() -> int:
    """Load the command line and run its command. Ctrl-C while it loads ends the process without a trace."""
    if is_ours := signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from gateway.app import cli as command_line  # noqa: PLC0415 - it takes long

    if is_ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return command_line.main()


if __name__ == "__main__":
    sys.exit(main())
