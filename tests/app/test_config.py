"""Configuration: files, variables, types, rules, and how it is shown."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

import gateway
from gateway.app.config import errors as config_errors
from gateway.app.config import settings as types
from gateway.app.config.errors import BY_VARIABLE, SETTINGS, ConfigError, Setting
from gateway.app.config.settings import (
    Password,
    SealingKey,
    SealingKeyText,
    SecretKey,
    SecretKeyText,
    Settings,
)
from gateway.app.config.sources import effective_toml, json_schema, load, reference_page
from tests.app.samples import KEY, OTHER_KEY, SECRET, SMALLEST, cases, loaded, write


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


# ---- names of each setting ----


def test_no_two_settings_share_a_variable() -> None:
    assert len(BY_VARIABLE) == len(SETTINGS)
    assert not [name for name in BY_VARIABLE if f"{name}_FILE" in BY_VARIABLE]


def test_secrets_are_known_as_such() -> None:
    first, *others = secret = [setting.path for setting in SETTINGS if setting.secret]
    assert secret == [
        "admin.token",
        "bus.password",
        "bus.sentinel_password",
        "secrets.sealing_keys",
        "secrets.pseudonym_key",
        "sites[<n>].asterisk.secret",
    ]
    assert [setting.path for setting in SETTINGS if setting.from_file] == [first, "bus.url", *others]


def test_a_new_secret_is_known_by_its_type_and_none_has_the_type_of_a_text() -> None:
    secret: tuple[Any, ...] = (
        Password,
        Password | None,
        tuple[SealingKeyText, ...],
        dict[str, SecretKeyText],
    )
    for annotation in secret:
        assert Setting("limits", "new", FieldInfo.from_annotation(annotation)).secret
    assert not Setting("limits", "new", FieldInfo.from_annotation(tuple[str, ...])).secret
    for setting in SETTINGS:
        if setting.key.endswith(("password", "secret", "token", "passphrase")):
            assert setting.secret, setting.path


def test_every_setting_says_why_and_numbers_and_lists_have_bounds() -> None:
    for setting in SETTINGS:
        assert (setting.field.description or "").endswith("."), setting.path
        bounds = {type(each).__name__ for each in setting.field.metadata}
        if setting.field.annotation in (int, float):
            assert bounds & {"Ge", "Gt"}, setting.path
            assert "Le" in bounds, setting.path
        if setting.many:
            assert "MaxLen" in bounds, setting.path
    assert len([setting for setting in SETTINGS if setting.many]) > 5


# ---- types of settings: what each accepts, and its errors ----


CASES: Mapping[str, tuple[Any, tuple[object, ...], tuple[object, ...]]] = {
    "port": (types.Port, (0, 1, 65_535, "80"), (-1, 65_536, "x", 1.5)),
    "host": (types.Host, ("::1", "gateway"), ("", "x" * 256)),
    "password": (types.Password, ("x",), ("", 5)),
    "secret_key": (types.SecretKeyText, (KEY,), ("", "x", 5, KEY[:-4])),
    "sealing_key": (types.SealingKeyText, (f"k1:{KEY}",), (KEY, f"K1:{KEY}", f":{KEY}", "k1:", 5)),
    "network": (types.Network, ("10.0.0.0/8", "::1", "10.1.2.3"), ("10.0.0.1/8", "x", "", None)),
    "origin": (
        types.Origin,
        ("https://a.example", "http://localhost:3000"),
        ("null", "*", "https://a.example/", "ftp://a", "https://A.example", "https://u@a", "a.example"),
    ),
    "site_name": (types.SiteName, ("main", "a-1"), ("", "Main", "a:b", "a{b", "x" * 33, "-a", "a_b")),
    "site_url": (
        types.SiteUrl,
        ("https://a", "http://127.0.0.1:8443/x"),
        ("a", "ftp://a", "https://", "https://u:p@a", "https://a?x", "https://a#x"),
    ),
    "page_url": (types.PageUrl, ("https://a/b?c",), ("http://a", "a", "https://")),
    "country": (types.Country, ("DE", "GB"), ("de", "XX", "Germany", "")),
    "number_prefix": (
        types.NumberPrefix,
        ("+4", "+4331", "+49301234567", "+" + "1" * 15),
        ("", "+", "49", "0049", "+0", "+49 30", "+49(0)30", "+" + "1" * 16, "+٤٩", "+49x", "+49\n"),
    ),
    "app_minimum": (types.AppMinimum, ("android=1.2.0", "ios=3"), ("android", "Android=1", "ios=a", "=1")),
    "node_name": (
        types.NodeName,
        ("n1", "gw-0.example", "A_b", "x" * 64),
        ("", "-n", "a b", "a:b", "a{b", "x" * 65, "n\n", "ü"),
    ),
    "bus_url": (types.BusUrl, ("memory://", "redis://h"), ("memory", "redi://h", "")),
}
GOOD = [(name, value) for name, (_, good, _) in CASES.items() for value in good]
BAD = [(name, value) for name, (_, _, bad) in CASES.items() for value in bad]


def _adapter(name: str) -> TypeAdapter[object]:
    return TypeAdapter(CASES[name][0])


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_it_takes_what_it_should(name: str, value: object) -> None:
    _adapter(name).validate_python(value)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_it_refuses_the_rest(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        _adapter(name).validate_python(value)


def test_values_become_what_they_mean() -> None:
    assert _adapter("network").validate_python("10.1.2.3") == ip_network("10.1.2.3/32")
    assert _adapter("site_url").validate_python("https://a/") == "https://a"
    sealing = _adapter("sealing_key").validate_python(f"k1:{KEY}")
    assert sealing == SealingKey("k1", SecretKey(bytes(range(32))))


def test_a_path_counts_from_the_given_folder() -> None:
    adapter = TypeAdapter(types.File)
    assert adapter.validate_python("a/b", context=Path("/etc")) == Path("/etc/a/b")
    assert adapter.validate_python("/a/b", context=Path("/etc")) == Path("/a/b")
    assert adapter.validate_python("a/b") == Path("a/b")


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("unix:/run/admin.sock", Path("/run/admin.sock")), ("unix:admin.sock", None), ("unix:", None),
        ("/run/admin.sock", None), ("127.0.0.1", None), ("::1", None),
    ],
)  # fmt: skip
def test_a_socket_is_named_by_a_whole_path(host: str, path: Path | None) -> None:
    assert types.socket_path(host) == path


# ---- the configuration as shown to people and machines: complete, without secrets ----


def test_the_effective_settings_are_toml_and_hide_secrets(tmp_path: Path) -> None:
    shown = effective_toml(loaded(tmp_path, SECRET.replace('token = "…"', 'token = "canary-of-operators"')))
    assert "canary" not in shown
    assert KEY not in shown
    assert OTHER_KEY not in shown
    values = tomllib.loads(shown)
    assert values["secrets"] == {"sealing_keys": ["k1:********"], "pseudonym_key": "********"}
    assert values["admin"]["token"] == "********"
    assert values["client"]["port"] == 8080
    assert values["limits"]["devices"] == 5


def test_every_text_that_is_never_shown_counts_as_a_secret() -> None:
    hidden = {setting.path for setting in SETTINGS if "SecretStr" in str(setting.field.annotation)}
    assert hidden >= {"admin.token", "bus.password", "bus.sentinel_password"}
    assert hidden <= {setting.path for setting in SETTINGS if setting.secret}


def test_the_effective_settings_say_where_each_came_from_also_in_a_table_of_a_site(tmp_path: Path) -> None:
    shown = effective_toml(
        loaded(tmp_path, OSCC_GATEWAY__OPS__PORT="1", OSCC_GATEWAY__SITES__0__COUNTRY="AT")
    )
    assert "port = 1  # OSCC_GATEWAY__OPS__PORT\n" in shown
    assert 'country = "AT"  # OSCC_GATEWAY__SITES__0__COUNTRY\n' in shown
    assert 'level = "info"  # default\n' in shown
    assert "port = 8080\n" in shown
    assert "# [secrets] is not set" in shown
    assert "# certificate is not set" in shown
    variable = "OSCC_GATEWAY__SITES__0__REMOTE_NUMBERS__ALLOW"
    text = SMALLEST + 'remote_numbers.deny = ["+4319"]\n'
    shown = effective_toml(loaded(tmp_path, text, **{variable: "+43,+41"}))
    assert f'remote_numbers.allow = ["+43", "+41"]  # {variable}\n' in shown
    assert 'remote_numbers.deny = ["+4319"]\n' in shown
    assert "remote_numbers.own = []  # default\n" in shown


def test_the_effective_settings_without_secrets_load_again(tmp_path: Path) -> None:
    numbers = 'remote_numbers = { deny = ["+4319"] }\n'
    first = loaded(tmp_path, SMALLEST + numbers + '[log]\nlevel = "error"\n[notices]\nfiles = ["a b.toml"]\n')
    again = load(write(tmp_path, effective_toml(first)), {})
    assert again.settings == first.settings


def test_the_page_of_all_settings_is_fresh() -> None:
    page = Path(gateway.__file__).parents[1] / "docs" / "configuration.md"
    assert page.read_text("utf-8") == reference_page(), "run: oscc-gateway check-config --reference"


def test_the_schema_refuses_unknown_keys_and_marks_secrets() -> None:
    found = json.loads(json_schema())
    assert found["additionalProperties"] is False
    assert found["required"] == ["sites"]
    secrets = found["$defs"]["SecretsSection"]["properties"]
    assert secrets["pseudonym_key"]["writeOnly"] is True
    assert secrets["sealing_keys"]["items"]["writeOnly"] is True
    assert found["$defs"]["AdminSection"]["properties"]["token"]["anyOf"][0]["writeOnly"] is True
    assert found["$defs"]["ClientSection"]["properties"]["port"]["maximum"] == 65_535


# ---- rules between settings: what is refused, and what is accepted ----


SITE = {"id": "main", "url": "https://oscce.example", "display_name": "Main", "country": "DE"}
SECRETS = {"sealing_keys": [f"k1:{KEY}"], "pseudonym_key": OTHER_KEY}


def faults_of(**sections: object) -> list[str]:
    values = {"client": {"insecure": True}, "sites": [SITE], **sections}
    return list(config_errors.rule_faults(Settings.model_validate(values)))


@pytest.mark.parametrize(("given", "said"), cases("settings_rules.txt"))
def test_what_does_not_fit_together_is_reported_in_one_sentence(given: str, said: str) -> None:
    values = {"secrets": SECRETS, "sites": [{}], **tomllib.loads(given)}
    sites = [site if "display_name" in site else SITE | site for site in values["sites"]]
    faults = faults_of(**values | {"sites": sites})
    if said == "fits":
        assert faults == []
        return
    (fault,) = faults
    assert fault.startswith(said.removesuffix("…"))
    assert fault.endswith(".")


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "redis+sentinel://a,b/m"])
def test_only_the_memory_bus_makes_its_own_secrets(url: str) -> None:
    (received,) = faults_of(bus={"url": url})
    assert received.startswith("[secrets] is missing: only a single node on memory://")
    assert faults_of(bus={"url": "memory://"}) == []
