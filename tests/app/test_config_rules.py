"""Rules between settings: what is refused, and what is accepted."""

from __future__ import annotations

import pytest

from gateway.app.config import errors as config_errors
from gateway.app.config.settings import Settings
from tests.app.samples import KEY, OTHER_KEY

SITE = {"id": "main", "url": "https://oscce.example", "display_name": "Main", "country": "DE"}
SECRETS = {"sealing_keys": [f"k1:{KEY}"], "pseudonym_key": OTHER_KEY}


def faults_of(**sections: object) -> list[str]:
    values = {"client": {"insecure": True}, "sites": [SITE], **sections}
    return list(config_errors.rule_faults(Settings.model_validate(values)))


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"client": {"trusted_proxies": ["10.0.0.0/8"]}},
        {"client": {"certificate": "a", "key": "b"}},
        {"client": {"certificate": "a", "key": "b", "trusted_proxies": ["10.0.0.0/8"]}},
        {"secrets": SECRETS},
        {"bus": {"url": "redis://host"}, "secrets": SECRETS},
        {"bus": {"url": "rediss://host", "ca_file": "ca.pem"}, "secrets": SECRETS},
        {"bus": {"url": "redis+sentinel://a,b/m"}, "secrets": SECRETS},
        {"client": {"insecure": True, "port": 0}, "ops": {"port": 0}, "admin": {"port": 0}},
        {"sites": [{**SITE, "country": None, "applications": ["dashboard"]}]},
        {"sites": [{**SITE, "url": "http://127.0.0.1:8443"}]},
        {"sites": [{**SITE, "url": "http://oscce", "insecure": True}]},
        {"sites": [SITE, {**SITE, "id": "other"}]},
    ],
)
def test_what_fits_together_is_accepted(sections: dict[str, object]) -> None:
    assert faults_of(**sections) == []


@pytest.mark.parametrize(
    ("sections", "start"),
    [
        ({"client": {}}, "The client listener would accept clear text: "),
        ({"client": {"certificate": "a"}}, "client.certificate is set without client.key: "),
        ({"client": {"key": "a"}}, "client.key is set without client.certificate: "),
        (
            {"client": {"certificate": "a", "key": "b", "insecure": True}},
            "client.insecure and client.certificate contradict each other: ",
        ),
        (
            {"bus": {"url": "redis://host", "ca_file": "ca.pem"}, "secrets": SECRETS},
            "bus.ca_file is set, but bus.url is not rediss://, rediss+sentinel:// or rediss+cluster://.",
        ),
        ({"bus": {"ca_file": "ca.pem"}}, "bus.ca_file is set, but bus.url is not rediss://"),
        (
            {"bus": {"url": "rediss://h?ca_file=a", "ca_file": "ca.pem"}, "secrets": SECRETS},
            "bus.ca_file and the ca_file of bus.url are both set: ",
        ),
        ({"bus": {"password": "x"}}, "bus.password is set, but bus.url is memory://"),
        (
            {"bus": {"url": "redis://h", "user": "u"}, "secrets": SECRETS},
            "bus.user is set without bus.password.",
        ),
        (
            {"bus": {"url": "redis://:y@h", "password": "x"}, "secrets": SECRETS},
            "bus.password is set, and bus.url has a password, too: keep one.",
        ),
        (
            {"bus": {"url": "redis://h", "sentinel_password": "x"}, "secrets": SECRETS},
            "bus.sentinel_password is set, but bus.url is not redis+sentinel:// ",
        ),
        (
            {
                "bus": {"url": "redis+sentinel://h/m?sentinel_password=y", "sentinel_password": "x"},
                "secrets": SECRETS,
            },
            "bus.sentinel_password is set, and bus.url has a log-in of the Sentinels, too: ",
        ),
        (
            {"secrets": {**SECRETS, "sealing_keys": [f"k1:{KEY}", f"k1:{OTHER_KEY}"]}},
            "2 keys of secrets.sealing_keys have the id k1: ",
        ),
        ({"admin": {"host": "0.0.0.0"}}, "admin.host must be 127.0.0.1, ::1, localhost or unix:/path: "),
        ({"admin": {"host": "unix:admin.sock"}}, "admin.host must be "),
        ({"ops": {"port": 8080}}, "ops.port is 8080, which client.port is already."),
        ({"sites": [SITE, SITE]}, "2 sites have the id main: "),
        (
            {"sites": [{**SITE, "country": None}]},
            "sites[0].country is missing: site main offers the Remote Assistant, ",
        ),
        (
            {"sites": [SITE, {**SITE, "id": "b", "url": "http://oscce"}]},
            "sites[1].url is clear text to another machine: ",
        ),
        (
            {"sites": [{**SITE, "url": "http://localhost", "ca_file": "ca.pem"}]},
            "sites[0].ca_file is set, but sites[0].url is not https://.",
        ),
    ],
)
def test_what_does_not_is_reported_in_one_sentence(sections: dict[str, object], start: str) -> None:
    (fault,) = faults_of(**sections)
    assert fault.startswith(start)
    assert fault.endswith(".")


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "redis+sentinel://a,b/m"])
def test_only_the_memory_bus_makes_its_own_secrets(url: str) -> None:
    (received,) = faults_of(bus={"url": url})
    assert received.startswith("[secrets] is missing: only a single node on memory://")
    assert faults_of(bus={"url": "memory://"}) == []
