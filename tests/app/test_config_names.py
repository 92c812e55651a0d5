"""Names of each setting."""

from __future__ import annotations

from gateway.app.config.errors import BY_VARIABLE, SETTINGS


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
