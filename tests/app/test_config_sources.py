"""Sources of the configuration, and the sentence of each fault."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.app.adapters import read_pair, redis_url
from gateway.app.cli.watch import PASSWORD_VARIABLE
from gateway.app.config.errors import ConfigError, fault_sentences
from gateway.app.config.settings import MEMORY, BusSection, ClientSection, Settings, bus_url, without_password
from gateway.app.config.sources import FILE_BYTES, SECRET_BYTES, load, read_sources, readable_by_others
from gateway.bus import parse_url
from tests.app.samples import SMALLEST, cases, write


def test_variables_win_over_the_file(tmp_path: Path) -> None:
    found = read_sources(write(tmp_path, SMALLEST), {"OSCC_GATEWAY__CLIENT__PORT": "8443"})
    client = found.values["client"]
    assert isinstance(client, dict)
    assert (client["port"], client["host"]) == ("8443", "127.0.0.1")
    assert found.origins == {"client.port": "OSCC_GATEWAY__CLIENT__PORT"}
    assert found.faults == []


def test_lists_are_words(tmp_path: Path) -> None:
    found = read_sources(None, {"OSCC_GATEWAY__CLIENT__ORIGINS": " https://a, https://b\nhttps://c "})
    assert found.values == {"client": {"origins": ["https://a", "https://b", "https://c"]}}


def test_sites_are_counted_from_0_in_the_order_of_numbers_without_a_gap() -> None:
    environ = {f"OSCC_GATEWAY__SITES__{place}__ID": f"s{place}" for place in range(11)}
    assert read_sources(None, environ).values == {"sites": [{"id": f"s{place}"} for place in range(11)]}
    assert read_sources(None, {"OSCC_GATEWAY__SITES__1__ID": "x"}).faults == [
        "OSCC_GATEWAY__SITES__1__ID: there is no site before place 1; the first has place 0."
    ]


def test_sites_of_the_file_can_be_changed_and_others_added(tmp_path: Path) -> None:
    environ = {"OSCC_GATEWAY__SITES__0__COUNTRY": "AT", "OSCC_GATEWAY__SITES__1__ID": "second"}
    sites = read_sources(write(tmp_path, SMALLEST), environ).values["sites"]
    assert isinstance(sites, list)
    assert (sites[0]["id"], sites[0]["country"], sites[1]) == ("main", "AT", {"id": "second"})


def test_a_table_of_a_site_is_changed_key_by_key_and_made_where_it_is_needed(tmp_path: Path) -> None:
    text = SMALLEST + '[sites.remote_numbers]\nallow = ["+1"]\ndeny = ["+43"]\n'
    variable = "OSCC_GATEWAY__SITES__0__REMOTE_NUMBERS__ALLOW"
    found = read_sources(write(tmp_path, text), {variable: "+4331, +41"})
    sites = found.values["sites"]
    assert isinstance(sites, list)
    assert sites[0]["remote_numbers"] == {"allow": ["+4331", "+41"], "deny": ["+43"]}
    assert found.origins == {"sites[0].remote_numbers.allow": variable}
    found = read_sources(None, {"OSCC_GATEWAY__SITES__0__REMOTE_NUMBERS__OWN": "+49301"})
    assert found.values == {"sites": [{"remote_numbers": {"own": ["+49301"]}}]}


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("CLEINT__PORT", "CLIENT__PORT"),
        ("SITES__0__CUONTRY", "SITES__0__COUNTRY"),
        ("SITES__0__REMOTE_NUMBER__ALLOW", "SITES__0__REMOTE_NUMBERS__ALLOW"),
        ("ADMIN__TOKEN_FIEL", "ADMIN__TOKEN_FILE"),
        ("CLIENT__PORT_FILE", "CLIENT__PORT"),
        ("OSCC_GATEWAY_CLIENT_PORT", "CLIENT__PORT"),
        ("OSCC_GATWAY__CLIENT__PORT", "CLIENT__PORT"),
        ("oscc_gateway__client__port", None),
    ],
)
def test_misspelt_variables_are_refused_with_the_nearest_name(name: str, near: str | None) -> None:
    variable = name if name.upper().startswith("OSCC") else f"OSCC_GATEWAY__{name}"
    hint = f"; did you mean OSCC_GATEWAY__{near}?" if near is not None else "."
    assert read_sources(None, {variable: "1"}).faults == [f"{variable}: there is no such setting{hint}"]


def test_variables_of_others_are_none_of_ours() -> None:
    others = {
        "PATH": "x", "OSCC_HOME": "x", PASSWORD_VARIABLE: "canary", "OSCC_GATEWAY_SERVICE_HOST": "10.0.0.1",
        "OSCC_GATEWAY_SERVICE_PORT_HTTP": "80", "OSCC_GATEWAY_PORT": "tcp://10.0.0.1:80",
        "OSCC_GATEWAY_OPS_PORT": "tcp://10.0.0.1:90", "OSCC_GATEWAY_PORT_80_TCP_ADDR": "10.0.0.1",
    }  # fmt: skip
    found = read_sources(None, others)
    assert (found.values, found.faults) == ({}, [])


def test_an_empty_variable_counts_as_not_set() -> None:
    assert read_sources(None, {"OSCC_GATEWAY__CLIENT__CERTIFICATE": ""}).values == {}


# ---- secrets ----


def test_a_secret_comes_from_a_file_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("canary\n", "utf-8")
    found = read_sources(None, {"OSCC_GATEWAY__ADMIN__TOKEN_FILE": str(secret)})
    assert found.values == {"admin": {"token": "canary"}}
    assert found.origins == {"admin.token": "OSCC_GATEWAY__ADMIN__TOKEN_FILE"}


def test_sealing_keys_come_one_a_line(tmp_path: Path) -> None:
    secret = tmp_path / "keys"
    secret.write_text("k2:b\nk1:a\n", "utf-8")
    found = read_sources(None, {"OSCC_GATEWAY__SECRETS__SEALING_KEYS_FILE": str(secret)})
    assert found.values == {"secrets": {"sealing_keys": ["k2:b", "k1:a"]}}


def test_a_secret_from_two_places_is_refused(tmp_path: Path) -> None:
    environ = {"OSCC_GATEWAY__ADMIN__TOKEN": "canary", "OSCC_GATEWAY__ADMIN__TOKEN_FILE": "x"}
    assert read_sources(None, environ).faults == [
        "OSCC_GATEWAY__ADMIN__TOKEN_FILE and OSCC_GATEWAY__ADMIN__TOKEN are both set: keep one."
    ]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "cannot be read: No such file or directory."),
        (b"\xff\xfe", "is not UTF-8."),
        (b" \n", f"is empty or larger than {SECRET_BYTES} bytes."),
        (b"x" * (SECRET_BYTES + 1), f"is empty or larger than {SECRET_BYTES} bytes."),
    ],
)
def test_secret_files_that_hold_none_are_refused(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    found = read_sources(None, {"OSCC_GATEWAY__ADMIN__TOKEN_FILE": str(path)})
    assert found.faults == [f"OSCC_GATEWAY__ADMIN__TOKEN_FILE: {path} {fault}"]


def test_the_placeholders_of_the_documentation_are_no_secrets(tmp_path: Path) -> None:
    values = read_sources(write(tmp_path, SMALLEST), {}).values
    assert "secrets" not in values
    assert values["admin"] == {"host": "127.0.0.1", "port": 9091}


# ---- the file ----


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[client\n", "is not TOML: "),
        (b"x = '\xff'\n", "is not UTF-8."),
        (b"#" * (FILE_BYTES + 1), f"is larger than {FILE_BYTES} bytes."),
        (None, "cannot be read: No such file or directory."),
    ],
)
def test_files_that_cannot_be_read_are_reported(tmp_path: Path, content: bytes | None, fault: str) -> None:
    path = tmp_path / "gateway.toml"
    if content is not None:
        path.write_bytes(content)
    (found,) = read_sources(path, {}).faults
    assert found.startswith(f"{path} {fault}")


def test_a_table_that_is_none_is_left_to_validation(tmp_path: Path) -> None:
    own = "OSCC_GATEWAY__SITES__0__REMOTE_NUMBERS__OWN"
    environ = {"OSCC_GATEWAY__CLIENT__PORT": "1", "OSCC_GATEWAY__SITES__0__ID": "x", own: "+49301"}
    found = read_sources(write(tmp_path, "client = 5\nsites = 6\n"), environ)
    assert found.values == {"client": 5, "sites": 6}
    found = read_sources(write(tmp_path, "[[sites]]\nremote_numbers = 5\n"), {own: "+49301"})
    assert found.values == {"sites": [{"remote_numbers": 5}]}


# ---- configuration faults: one helpful sentence each, without secrets ----


SITE = {"id": "main", "url": "https://a", "display_name": "Main", "country": "DE"}


def faults_of(values: object, origins: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    return fault_sentences(caught.value, origins or {})


def section(name: str, **values: object) -> dict[str, object]:
    return {"sites": [SITE], name: values}


def test_a_secret_whose_file_is_a_fault_is_not_called_missing_too(tmp_path: Path) -> None:
    names = {
        f"OSCC_GATEWAY__SECRETS__{key}_FILE": str(tmp_path / key) for key in ("SEALING_KEYS", "PSEUDONYM_KEY")
    }
    (tmp_path / "PSEUDONYM_KEY").write_text("", "utf-8")
    with pytest.raises(ConfigError) as refused:
        load(write(tmp_path, SMALLEST), names)
    assert [fault.split(": ")[0] for fault in refused.value.faults] == sorted(names)


def test_a_file_may_begin_with_the_mark_of_its_encoding(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff" + SMALLEST)
    assert load(path, {}).settings == load(write(tmp_path, SMALLEST), {}).settings


@pytest.mark.parametrize("endpoint", ["otel:4318", "ami://127.0.0.1:5038"])
def test_a_collector_has_an_address_of_its_own_kind(endpoint: str) -> None:
    (fault,) = faults_of({"sites": [SITE], "tracing": {"endpoint": endpoint}})
    assert fault == "tracing.endpoint must be an address such as https://otel.example/v1/traces."


@pytest.mark.parametrize(("given", "sentence"), cases("settings_faults.txt"))
def test_each_fault_has_its_sentence_and_unknown_names_the_nearest(given: str, sentence: str) -> None:
    values = {"sites": [SITE], **tomllib.loads(given)}
    if all(isinstance(site, dict) for site in values["sites"]):
        values["sites"] = [SITE | site for site in values["sites"]]
    assert faults_of(values) == [sentence]


def test_what_a_file_cannot_say_has_its_sentence_too() -> None:
    assert faults_of(section("client", port=None)) == ["client.port must be a whole number."]
    assert faults_of({}) == ["No site is configured: add a [[sites]] with id, url, display_name and country."]
    many = {**SITE, "remote_numbers": {"allow": ["+43"] * 257}}
    assert faults_of({"sites": [many]}) == ["sites[0].remote_numbers.allow must have at most 256."]


def test_a_fault_is_named_after_where_the_value_came_from() -> None:
    origins = {"client.port": "OSCC_GATEWAY__CLIENT__PORT"}
    assert faults_of(section("client", port="70000"), origins) == [
        "OSCC_GATEWAY__CLIENT__PORT is 70000, but must be at most 65535."
    ]
    variable = "OSCC_GATEWAY__SITES__0__REMOTE_NUMBERS__OWN"
    (received,) = faults_of(
        {"sites": [{**SITE, "remote_numbers": {"own": ["x"]}}]}, {"sites[0].remote_numbers.own": variable}
    )
    assert received.startswith(f"{variable} (value 1) must be a number in E.164")


SECRET_PLACES = [("admin", "token"), ("secrets", "pseudonym_key"), ("secrets", "sealing_keys")]


@given(
    place=st.sampled_from(SECRET_PLACES),
    shape=st.sampled_from(["bare", "list", "key", "pair", "table"]),
    canary=st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789", min_size=12, max_size=60),
)
def test_no_fault_repeats_what_may_be_secret(place: tuple[str, str], shape: str, canary: str) -> None:
    shaped = {
        "bare": canary,
        "list": [canary, canary],
        "key": f"k1:{canary}",
        "pair": [f"k1:{canary}", 5],
        "table": {"x": canary},
    }[shape]
    values = {"client": {"port": "x"}, place[0]: {place[1]: shaped}}
    assert canary not in "\n".join(faults_of(values))


@pytest.mark.parametrize("url", ["https://user:canary@host", "https://host?canary", "canary"])
def test_no_fault_repeats_an_address(url: str) -> None:
    assert "canary" not in "".join(faults_of({"sites": [{**SITE, "url": url}], "bus": {"url": f"x{url}"}}))


# ---- addresses of a bus: how they are read, and no password in errors ----


GOOD = (
    MEMORY,
    "redis://h",
    "rediss+sentinel://u:p@a:26379,b.example:26379,[::1]:26379/gateway?sentinel_password=x",
)
CANARY = "canary"
NOT_ENCODED = r".*%40.*bus\.password"
BAD = (
    ("", "must begin with memory://"),
    ("memory", "must begin with"),
    ("valkey://h", "must begin with"),
    ("memory://h", "must be memory:// and nothing behind it"),
    (f"redis://u:{CANARY}@h:x", "cannot be used: a host"),
    (f"redis://{CANARY}@h", "cannot be used: a bus URL has user:password"),
    ("rediz://h", ".*did you mean redis://"),
    ("memori://", ".*did you mean memory://"),
    ("redis+sentinels://h/m", r".*did you mean redis\+sentinel://"),
    ("redis-cluster://h:6379", r".*did you mean redis\+cluster://"),
    ("rediscluster://h", r".*did you mean redis\+cluster://"),
    (f"redis://p@{CANARY}@h:6379", NOT_ENCODED),
    (f"redis://p@{CANARY}:6379", NOT_ENCODED),
    (f"redis://:p@{CANARY}/w@h:6379", NOT_ENCODED),
    (f"redis://:p#{CANARY}@h", NOT_ENCODED),
    (f"redis://:p?{CANARY}@h", NOT_ENCODED),
)


@pytest.mark.parametrize("url", GOOD)
def test_addresses_are_taken_as_they_are(url: str) -> None:
    assert bus_url(url) == url


@pytest.mark.parametrize(("url", "start"), BAD)
def test_what_is_none_is_refused_with_its_remedy_without_being_repeated(url: str, start: str) -> None:
    with pytest.raises(ValueError, match="^" + start) as refused:
        bus_url(url)
    assert CANARY not in str(refused.value)


def url_of(**given: object) -> str | None:
    return redis_url(BusSection.model_validate(given))


def test_a_file_of_the_authority_is_added() -> None:
    url = url_of(url="rediss://h?db=1", ca_file="/etc/a b&c.pem")
    assert url is not None
    found = parse_url(url)
    assert (found.ca_file, found.db, found.tls) == ("/etc/a b&c.pem", 1, True)
    assert url_of(url="rediss://h") == "rediss://h"
    assert url_of(url=MEMORY) is None


AWKWARD = "p@ss/w:o?r#d%40 ü"


def test_users_and_passwords_beside_the_address_need_no_encoding() -> None:
    url = url_of(
        url="rediss+sentinel://a:1,b:2/m?db=3",
        user="gate way",
        password=AWKWARD,
        sentinel_user="s&x",
        sentinel_password=AWKWARD[::-1],
        ca_file="/ca.pem",
    )
    assert url is not None
    found = parse_url(url)
    assert (found.credentials.user, found.credentials.password) == ("gate way", AWKWARD)
    received = found.sentinel_credentials
    assert (received.user, received.password) == ("s&x", AWKWARD[::-1])
    assert (found.endpoints, found.service, found.db) == ((("a", 1), ("b", 2)), "m", 3)
    assert found.ca_file == "/ca.pem"


def test_a_password_alone_is_that_of_the_default_user() -> None:
    found = parse_url(url_of(url="redis://h", password="x") or MEMORY)
    assert (found.credentials.user, found.credentials.password) == (None, "x")


def test_passwords_are_hidden() -> None:
    shown = without_password("redis+sentinel://u:canary@a:1,b:2/m?sentinel_password=canary&db=1")
    assert shown == "redis+sentinel://********@a:1,b:2/m?sentinel_password=********&db=1"
    assert without_password("redis://h:1") == "redis://h:1"


@given(st.text(min_size=1))
def test_whatever_stands_before_the_host_is_hidden(password: str) -> None:
    assert without_password(f"redis://u:{password}@h/0") == "redis://********@h/0"


# ---- a secret's file that everybody may read is a fault ----


@pytest.fixture
def public(tmp_path: Path) -> Iterator[Path]:
    """A folder that everybody may enter."""
    folder = tmp_path / "public"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    opened = [each for each in folder.parents if not each.stat().st_mode & 0o001]
    modes = {each: each.stat().st_mode for each in opened}
    for each in opened:
        each.chmod(modes[each] | 0o001)
    yield folder
    for each, mode in modes.items():
        each.chmod(mode)


def secret(folder: Path, mode: int) -> Path:
    file = folder / f"secret-{mode:o}"
    file.write_text("canary-of-a-long-secret")
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("mode", "is_fault"), [(0o400, False), (0o440, False), (0o640, False), (0o444, True), (0o604, True)]
)
def test_only_a_file_that_everybody_may_read_is_a_fault(public: Path, mode: int, is_fault: bool) -> None:
    assert readable_by_others(secret(public, mode)) is is_fault


def test_a_folder_that_others_may_not_enter_guards_what_is_in_it(public: Path) -> None:
    file = secret(public, 0o444)
    public.chmod(0o750)
    assert not readable_by_others(file)
    link = public.parent / "link"
    link.symlink_to(file)
    assert not readable_by_others(link), "where the file is counts, not where its link is"


def test_a_file_that_is_mounted_by_itself_is_guarded_where_it_comes_from(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = secret(public, 0o444)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == Path(os.path.realpath(file)))
    assert not readable_by_others(file)


def test_the_token_of_operators_is_not_taken_from_such_a_file(public: Path, tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(SMALLEST)
    for mode in (0o644, 0o640):
        file = secret(public, mode)
        environ = {"OSCC_GATEWAY__ADMIN__TOKEN_FILE": str(file)}
        if mode == 0o640:
            assert load(config, environ).settings.admin.token is not None
            continue
        with pytest.raises(ConfigError) as refused:
            load(config, environ)
        (fault,) = refused.value.faults
        assert fault.startswith(f"OSCC_GATEWAY__ADMIN__TOKEN_FILE: {file} can be read by every user")


def test_a_key_of_tls_is_not_taken_from_such_a_file(public: Path) -> None:
    certificate, key = secret(public, 0o644), secret(public, 0o604)
    client = ClientSection(certificate=certificate, key=key)
    with pytest.raises(ConfigError, match=r"client\.key: .* can be read by every user"):
        read_pair(client)
    key.chmod(0o640)
    assert read_pair(client) is not None


def test_a_short_token_of_operators_is_a_fault(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(SMALLEST)
    for token, is_fault in (("x" * 15, True), ("x" * 16, False)):
        environ = {"OSCC_GATEWAY__ADMIN__TOKEN": token}
        if not is_fault:
            assert load(config, environ).settings.admin.token is not None
            continue
        with pytest.raises(ConfigError) as refused:
            load(config, environ)
        (fault,) = refused.value.faults
        assert fault.startswith("admin.token has fewer than 16 characters")
        assert token not in fault
