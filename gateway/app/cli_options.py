"""Which options do several commands share?"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``; without it all settings come from the environment."""
    parser.add_argument(
        "--config",
        "-c",
        type=Path,
        metavar="FILE",
        help="the TOML file; OSCC_GATEWAY__SECTION__KEY variables win over it",
    )
