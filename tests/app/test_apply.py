"""Settings reach the parts that obey them."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from pathlib import Path

import pytest

import gateway
from gateway.app.adapters import edge_settings, limits_of, linger, node_id, numbers
from gateway.app.config.settings import LimitsSection
from gateway.core.link import Linger
from gateway.core.rate_limits import SessionLimits
from gateway.core.registry import RegistryLimits
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application
from gateway.edge.request_context import AdmissionLimits
from gateway.protocol.bodies import SiteView
from tests.app.samples import SMALLEST, loaded

EVERYTHING = (
    SMALLEST.replace(
        "insecure = true",
        'insecure = true\ntrusted_proxies = ["10.0.0.0/8"]\norigins = ["https://a"]\n'
        'app_minimum = ["android=1.2", "ios=3"]',
    )
    + '[privacy]\ncontact = "the board"\nstatement_url = "https://a/privacy"\n'
)


def test_the_routes_receive_everything_and_whether_tls_is_on(tmp_path: Path) -> None:
    received = edge_settings(loaded(tmp_path, EVERYTHING).settings)
    assert received.version == gateway.__version__
    both = (Application.DASHBOARD, Application.REMOTE_ASSISTANT)
    assert received.sites == (SiteView("main", "Main", both),)
    assert (received.tls, received.insecure) == (False, True)
    assert received.trusted_proxies == (ip_network("10.0.0.0/8"),)
    assert received.origins == {"https://a"}
    assert received.app_minimum == {"android": "1.2", "ios": "3"}
    assert (received.privacy_contact, received.privacy_statement_url) == ("the board", "https://a/privacy")
    text = SMALLEST.replace("insecure = true", 'certificate = "a"\nkey = "b"')
    received = edge_settings(loaded(tmp_path, text).settings)
    assert (received.tls, received.insecure, received.privacy_contact) == (True, False, None)


def test_numbers_obey_their_site(tmp_path: Path) -> None:
    policy = 'remote_numbers = { allow = ["+4331"], deny = ["+4930666"], own = ["+4930777"] }\n'
    dashboard = '[[sites]]\nid = "b"\nurl = "https://b"\ndisplay_name = "B"\napplications = ["dashboard"]\n'
    received = numbers(loaded(tmp_path, SMALLEST + policy + dashboard).settings)

    def answer(site: str, text: str) -> str:
        try:
            return received.accept(site, text)
        except GatewayError as error:
            return error.code.value

    refused = ErrorCode.REMOTE_NUMBER_NOT_ALLOWED.value
    assert answer("main", "030 1234567") == "+49301234567"
    assert answer("main", "+43 316 123456") == "+43316123456"
    assert answer("main", "+43 1 58058") == refused
    assert (answer("main", "030 6661234"), answer("main", "030 7771234")) == (refused, refused)
    assert answer("b", "030 1234567") == refused


def test_defaults_are_those_of_the_rooms() -> None:
    limits = LimitsSection()
    assert limits_of(SessionLimits, limits) == SessionLimits()
    assert limits_of(AdmissionLimits, limits) == AdmissionLimits()
    assert limits_of(RegistryLimits, limits).devices == RegistryLimits().devices
    assert linger(limits) == Linger()


def test_every_limit_arrives() -> None:
    limits = LimitsSection()
    odd = {name: int(value) + 1 for name, value in limits}
    changed = LimitsSection.model_validate(odd)
    arrived = {
        **dataclasses.asdict(limits_of(SessionLimits, changed)),
        **dataclasses.asdict(limits_of(AdmissionLimits, changed)),
        **dataclasses.asdict(limits_of(RegistryLimits, changed)),
        "linger_s": linger(changed).dashboard_s,
        "linger_remote_assistant_s": linger(changed).remote_assistant_s,
    }
    elsewhere = {"balance", "drain_notice_s", "drain_s", "log_ons_per_s", "log_ons_in_flight"}
    assert {name: arrived[name] for name in odd if name not in elsewhere} == {
        name: value for name, value in odd.items() if name not in elsewhere
    }


def test_a_node_has_the_configured_name_or_one_of_where_it_listens(tmp_path: Path) -> None:
    unnamed = loaded(tmp_path).settings
    assert node_id(unnamed, "gw1.example", "0123456789abcdef") == "gw1.example-8080"
    anywhere = loaded(tmp_path, SMALLEST.replace("port = 8080", "port = 0")).settings
    assert node_id(anywhere, "gw1", "0123456789abcdef") == "gw1-01234567"
    named = loaded(tmp_path, SMALLEST + '[node]\nname = "n1"\n').settings
    assert node_id(named, "gw1", "0123456789abcdef") == "n1"


@pytest.mark.parametrize("host", ["", "-", "büro 1", "{og}:x", "h" * 255, "host.name_1"])
def test_a_name_made_of_a_host_could_have_been_set(tmp_path: Path, host: str) -> None:
    made = node_id(loaded(tmp_path).settings, host, "0123456789abcdef")
    assert loaded(tmp_path, SMALLEST + f'[node]\nname = "{made}"\n').settings.node.name == made
