"""Configuration faults: one helpful sentence each, without secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.app.config.errors import fault_sentences
from gateway.app.config.settings import Settings

SITE = {"id": "main", "url": "https://a", "display_name": "Main", "country": "DE"}


def faults_of(values: object, origins: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate(values)
    return fault_sentences(caught.value, origins or {})


def section(name: str, **values: object) -> dict[str, object]:
    return {"sites": [SITE], name: values}


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (section("client", port=70_000), "client.port is 70000, but must be at most 65535."),
        (section("client", port=-1), "client.port is -1, but must be at least 0."),
        (section("client", port="x"), "client.port must be a whole number."),
        (section("client", port=1.5), "client.port must be a whole number."),
        (section("client", port=None), "client.port must be a whole number."),
        (section("client", insecure="perhaps"), "client.insecure must be true or false."),
        (section("client", insecure=[]), "client.insecure must be true or false."),
        (section("client", host=""), "client.host must have at least 1 characters."),
        (section("client", host=5), "client.host must be a text."),
        (section("client", certificate=5), "client.certificate must be a path."),
        (section("client", origins="x"), "client.origins must be a list."),
        (section("limits", handshakes_per_s=0), "limits.handshakes_per_s is 0, but must be more than 0."),
        (section("limits", ping_s="x"), "limits.ping_s must be a number."),
        (
            section("log", level="loud"),
            "log.level is loud, but must be 'debug', 'info', 'warning' or 'error'.",
        ),
        ({"sites": [SITE], "client": 5}, "client must be a table."),
        ({"sites": [SITE], "secrets": 5}, "secrets must be a table."),
        ({"sites": []}, "sites must have at least 1."),
        ({"sites": 5}, "sites must be a list."),
        ({"sites": [5]}, "sites[0] must be a table."),
        ({}, "No site is configured: add a [[sites]] with id, url, display_name and country."),
        (
            {"sites": [{**SITE, "applications": ["dashbord"]}]},
            "sites[0].applications (value 1) is dashbord, but must be 'dashboard' or 'remote_assistant'.",
        ),
        (
            section("client", trusted_proxies=["10.0.0.1", "x"]),
            "client.trusted_proxies (value 2) must be an address or a network such as 10.0.0.0/8.",
        ),
        (
            section("client", trusted_proxies=["10.0.0.5/24"]),
            (
                "client.trusted_proxies (value 1) must be the network 10.0.0.0/24 or the address 10.0.0.5, "
                "not both in one."
            ),
        ),
        (
            {"sites": [{**SITE, "country": "de"}]},
            "sites[0].country must be a country of two capital letters such as DE; did you mean DE?",
        ),
        (
            {"sites": [{**SITE, "country": "XX"}]},
            "sites[0].country must be a country of ISO 3166 with telephones such as DE: XX is none.",
        ),
        (
            {"sites": [{**SITE, "country": "UK"}]},
            "sites[0].country must be a country of two capital letters such as DE; did you mean GB?",
        ),
        (
            {"sites": [{**SITE, "country": "Germany"}]},
            "sites[0].country must be a country of two capital letters such as DE.",
        ),
        ({"sites": [{**SITE, "remote_numbers": 5}]}, "sites[0].remote_numbers must be a table."),
        (
            {"sites": [{**SITE, "remote_numbers": {"own": "+49"}}]},
            "sites[0].remote_numbers.own must be a list.",
        ),
        (
            {"sites": [{**SITE, "remote_numbers": {"deny": ["+43", "0043"]}}]},
            (
                "sites[0].remote_numbers.deny (value 2) must be a number in E.164 or the beginning of one, "
                "such as +4331, without spaces."
            ),
        ),
        (
            {"sites": [{**SITE, "remote_numbers": {"allow": ["+43"] * 257}}]},
            "sites[0].remote_numbers.allow must have at most 256.",
        ),
    ],
)
def test_each_fault_has_its_sentence(values: object, sentence: str) -> None:
    assert faults_of(values) == [sentence]


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


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sites": [SITE], "clinet": {}}, "[clinet]: there is no such section; did you mean client?"),
        ({"sites": [SITE], "zzz": 1}, "[zzz]: there is no such section."),
        (section("client", prot=1), "client.prot: there is no such setting; did you mean client.port?"),
        (section("client", token="x"), "client.token: there is no such setting; did you mean admin.token?"),
        (section("client", zzzzzz=1), "client.zzzzzz: there is no such setting."),
        (
            {"sites": [{**SITE, "cuntry": "DE"}]},
            "sites[0].cuntry: there is no such setting; did you mean sites[0].country?",
        ),
        (
            {"sites": [{**SITE, "remote_number": {}}]},
            "sites[0].remote_number: there is no such setting; did you mean sites[0].remote_numbers?",
        ),
        (
            {"sites": [{**SITE, "remote_numbers": {"denny": []}}]},
            (
                "sites[0].remote_numbers.denny: there is no such setting; "
                "did you mean sites[0].remote_numbers.deny?"
            ),
        ),
        (
            {"sites": [{**SITE, "deny": []}]},
            "sites[0].deny: there is no such setting; did you mean sites[<n>].remote_numbers.deny?",
        ),
    ],
)
def test_unknown_names_come_with_the_nearest(values: object, sentence: str) -> None:
    assert faults_of(values) == [sentence]


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
