"""Loading a configuration: all faults are reported at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.config.errors import ConfigError
from gateway.app.config.sources import load
from tests.app.samples import KEY, OTHER_KEY, SECRET, SMALLEST, loaded, write


def test_the_smallest_file_loads_to_the_letter(tmp_path: Path) -> None:
    settings = loaded(tmp_path).settings
    assert (settings.client.host, settings.client.port, settings.client.insecure) == ("127.0.0.1", 8080, True)
    assert [site.id for site in settings.sites] == ["main"]
    assert settings.secrets is None
    assert settings.admin.token is None


def test_the_smallest_file_of_the_documentation_is_this_one() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "operations.md").read_text("utf-8")
    shown = page.split("```toml\n")[1].split("```")[0]
    values = [line.partition("#")[0].rstrip() for line in SMALLEST.splitlines()]
    assert [line.partition("#")[0].rstrip() for line in shown.splitlines()] == values


@pytest.mark.parametrize("text", [None, "[client\n"], ids=["missing", "no TOML"])
def test_of_a_file_that_cannot_be_read_only_that_is_said(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "gateway.toml"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path, {"OSCC_GATEWAY__CLIENT__PRT": "1"})
    about, misspelt = caught.value.faults
    assert str(path) in about
    assert "OSCC_GATEWAY__CLIENT__PRT" in misspelt


def test_secrets_of_the_file_are_read(tmp_path: Path) -> None:
    secrets = loaded(tmp_path, SECRET).settings.secrets
    assert secrets is not None
    assert [(key.id, key.key.raw) for key in secrets.sealing_keys] == [("k1", bytes(range(32)))]
    assert secrets.pseudonym_key.raw == bytes(range(32, 64))


def test_the_environment_alone_is_enough() -> None:
    configuration = load(
        None,
        {
            "OSCC_GATEWAY__CLIENT__INSECURE": "true",
            "OSCC_GATEWAY__SITES__0__ID": "main",
            "OSCC_GATEWAY__SITES__0__URL": "https://oscce.example",
            "OSCC_GATEWAY__SITES__0__DISPLAY_NAME": "Main",
            "OSCC_GATEWAY__SITES__0__APPLICATIONS": "dashboard",
        },
    )
    assert configuration.settings.sites[0].url == "https://oscce.example"
    assert configuration.origins["sites[0].id"] == "OSCC_GATEWAY__SITES__0__ID"


def test_relative_paths_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    settings = loaded(tmp_path, SMALLEST + '[notices]\nfiles = ["notices/a.toml", "/b.toml"]\n').settings
    assert settings.notices.files == (tmp_path / "notices" / "a.toml", Path("/b.toml"))


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    text = SMALLEST.replace("port = 8080", "prot = 8080").replace('id = "main"', "")
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), {"OSCC_GATEWAY__OPS__HOTS": "::1", "OSCC_GATEWAY__LOG__LEVEL": "loud"})
    assert list(caught.value.faults) == [
        "OSCC_GATEWAY__OPS__HOTS: there is no such setting; did you mean OSCC_GATEWAY__OPS__HOST?",
        "client.prot: there is no such setting; did you mean client.port?",
        "sites[0].id is missing: the site's id in requests of clients. Never change it: all tokens have it.",
        "OSCC_GATEWAY__LOG__LEVEL is loud, but must be 'debug', 'info', 'warning' or 'error'.",
    ]


def test_rules_are_asked_and_misspelt_variables_are_faults_although_all_else_is_right(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clear text"):
        loaded(tmp_path, SMALLEST.replace("insecure = true", ""))
    with pytest.raises(ConfigError, match="OSCC_GATEWAY__CLIENT__PORT"):
        loaded(tmp_path, OSCC_GATEWAY__CLIENT__PROT="1")


def test_no_secret_is_in_any_text_that_python_makes_of_it(tmp_path: Path) -> None:
    configuration = loaded(tmp_path, SECRET.replace('token = "…"', 'token = "canary-of-operators"'))
    settings = configuration.settings
    for text in (
        repr(configuration),
        str(settings),
        settings.model_dump_json(),
        repr(settings.model_dump(mode="json")),
    ):
        assert KEY not in text
        assert OTHER_KEY not in text
        assert "canary" not in text
        assert repr(bytes(range(32))) not in text
