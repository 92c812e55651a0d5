"""Is the file of the settings named alike everywhere?"""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from gateway.app.cli.command import add_config


@pytest.mark.parametrize("arguments", [["--config", "a.toml"], ["-c", "a.toml"]])
def test_the_file_has_one_option(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser()
    add_config(parser)
    assert parser.parse_args(arguments).config == Path("a.toml")
    assert parser.parse_args([]).config is None
