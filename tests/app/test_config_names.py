"""Does every setting have its names?"""

from __future__ import annotations

from gateway.app.config.errors import BY_VARIABLE, SETTINGS, hint, nearest, sections


def test_names_in_the_file_and_in_the_environment() -> None:
    names = {setting.path: setting.variable for setting in SETTINGS}
    assert names["client.port"] == "OSCC_GATEWAY__CLIENT__PORT"
    assert names["secrets.sealing_keys"] == "OSCC_GATEWAY__SECRETS__SEALING_KEYS"
    assert names["sites[<n>].ca_file"] == "OSCC_GATEWAY__SITES__<n>__CA_FILE"
    allow = "OSCC_GATEWAY__SITES__<n>__REMOTE_NUMBERS__ALLOW"
    assert names["sites[<n>].remote_numbers.allow"] == allow
    assert "sites[<n>].remote_numbers" not in names


def test_no_two_settings_share_a_variable() -> None:
    assert len(BY_VARIABLE) == len(SETTINGS)
    assert not [name for name in BY_VARIABLE if f"{name}_FILE" in BY_VARIABLE]


def test_secrets_are_known_as_such() -> None:
    secret = [setting.path for setting in SETTINGS if setting.secret]
    assert secret == [
        "admin.token",
        "bus.password",
        "bus.sentinel_password",
        "secrets.sealing_keys",
        "secrets.pseudonym_key",
        "sites[<n>].asterisk.secret",
    ]
    from_file = [setting.path for setting in SETTINGS if setting.from_file]
    assert from_file == [
        "admin.token",
        "bus.url",
        "bus.password",
        "bus.sentinel_password",
        "secrets.sealing_keys",
        "secrets.pseudonym_key",
        "sites[<n>].asterisk.secret",
    ]


def test_lists_are_known_as_such() -> None:
    many = {setting.path for setting in SETTINGS if setting.many}
    assert many >= {
        "client.trusted_proxies",
        "secrets.sealing_keys",
        "sites[<n>].applications",
        "sites[<n>].remote_numbers.own",
    }
    assert "client.port" not in many


def test_sections_are_found_behind_optional_and_many() -> None:
    found = {name: section.__name__ for name, section in sections()}
    assert (found["secrets"], found["sites"], found["ops"]) == ("SecretsSection", "SiteSection", "OpsSection")


def test_the_nearest_name_is_given_only_when_it_is_near() -> None:
    assert nearest("prot", ["port", "host"]) == "port"
    assert nearest("zzz", ["port", "host"]) is None
    assert hint("prot", ["port"]) == "; did you mean port?"
    assert hint("zzz", ["port"]) == ""
