"""What is this node's configuration?

One TOML file and the environment, read, checked and explained. Everything wrong is told at
once, a sentence per fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from gateway.app import config_rules, config_sources
from gateway.app.config_faults import ConfigError, sentences
from gateway.app.config_sections import Secrets, Settings
from gateway.app.keys import new_sealing_key, new_secret_key


@dataclass(frozen=True, slots=True)
class Configuration:
    """Valid settings. *origins* tells by path which of them came from which variable."""

    settings: Settings
    origins: Mapping[str, str]


def load(path: Path | None, environ: Mapping[str, str]) -> Configuration:
    """Read the settings from the file at *path* (None: no file) and from *environ*.

    Raises:
        ConfigError: With a sentence per fault.
    """
    sources = config_sources.read(path, environ)
    if sources.is_unread:
        raise ConfigError(sources.faults)
    try:
        settings = Settings.model_validate(
            sources.values, context=path.absolute().parent if path is not None else Path.cwd()
        )
    except ValidationError as error:
        raise ConfigError([*sources.faults, *sentences(error, sources.origins)]) from None
    faults = [*sources.faults, *config_rules.faults(settings)]
    if faults:
        raise ConfigError(faults)
    return Configuration(settings, sources.origins)


def own_secrets() -> Secrets:
    """Make the secrets of a single node that was given none; they end with the process."""
    return Secrets(sealing_keys=(new_sealing_key(),), pseudonym_key=new_secret_key())
