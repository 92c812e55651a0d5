"""The files of "Your Asterisk in 20 minutes" fit each other, and the gateway accepts its own."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import gateway
from gateway.app.config.settings import AsteriskSection
from gateway.upstream.asterisk.keys import remote_interface
from gateway.upstream.asterisk.sessions import NUMBERS, UNTIL
from tests.app.samples import SECRET, loaded

PAGE = (Path(gateway.__file__).parents[1] / "docs" / "asterisk.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    """Return the blocks of code of one language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_gateway_accepts_the_site_and_logs_in_as_manager_conf_says(tmp_path: Path) -> None:
    (site,) = [one for one in blocks("toml") if "[[sites]]" in one]
    text = SECRET.partition("[[sites]]")[0] + site
    asterisk = loaded(tmp_path, text).settings.sites[0].asterisk
    assert isinstance(asterisk, AsteriskSection)
    manager = configparser.ConfigParser()
    manager.read_string(next(one for one in blocks("ini") if "permit" in one))
    account = manager[asterisk.user]
    assert account["secret"] == asterisk.secret.get_secret_value()
    assert {account["read"], account["write"]} == {"agent,system"}
    assert tomllib.loads(site)["sites"][0]["url"].endswith(":5038")


def test_the_dialplan_reads_what_the_gateway_writes() -> None:
    plan = next(one for one in blocks("ini") if "exten =>" in one)
    context = AsteriskSection.model_fields["remote_context"].default
    assert plan.startswith(f"[{context}]\n")
    assert remote_interface("ana", context) == f"Local/ana@{context}/n"
    assert f"${{DB({NUMBERS}/${{EXTEN}})}}" in plan
    assert f"${{DB({UNTIL}/${{EXTEN}})}}" in plan
