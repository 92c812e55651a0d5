"""HTTPS routes of the simulator, as the page says."""

from __future__ import annotations

import ipaddress
from email.utils import formatdate
from typing import Any, Literal

import aiohttp
import pytest
from cryptography import x509

from gateway.simulator.contact_center import Functions
from gateway.simulator.fields import Refused
from gateway.simulator.sessions import normalise
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.web import self_signed
from tests.simulator.client import SimulatorClient


@pytest.mark.parametrize(
    ("user", "more", "status", "name"),
    [
        ("supervisor1", {"Password": "x"}, 401, "InvalidCredentials"),
        ("supervisor1", {"Application": "RemoteAssistant", "RemoteNumber": "0301234567"}, 403, "RoleMissing"),
        ("agent1", {"RemoteNumber": ""}, 422, "RemoteNumberMissing"),
        ("agent1", {"RemoteNumber": "tel"}, 422, "RemoteNumberInvalid"),
        ("agent1", {"RemoteNumber": "0900 123456"}, 422, "RemoteNumberNotAllowed"),
        ("agent1", {"RemoteNumber": "030 0000002"}, 409, "NumberInUse"),
        ("supervisor1", {"Application": "Radio"}, 400, "BadRequest"),
        ("supervisor1", {"Device": None}, 400, "BadRequest"),
    ],
)
async def test_log_on_errors(
    client: SimulatorClient, user: str, more: dict[str, Any], status: int, name: str
) -> None:
    await client.log_on("agent2")
    assert await client.try_log_on(user, **more) == (status, {"Error": name, **_detail(more, name)})


def _detail(more: dict[str, Any], name: str) -> dict[str, Any]:
    return {"Field": next(iter(more))} if name == "BadRequest" else {}


async def test_a_blocked_a_locked_and_a_second_log_on(client: SimulatorClient) -> None:
    await client.control("POST", "act", {"Act": "Block", "User": "supervisor2"})
    assert (await client.try_log_on("supervisor2"))[1]["Error"] == "AccountBlocked"
    for _ in range(5):
        await client.try_log_on("supervisor1", Password="x")
    assert await client.try_log_on("supervisor1") == (423, {"Error": "AccountLocked", "RetryAfter": 60})
    await client.log_on("agent1", "d1")
    assert await client.try_log_on("agent1", "d2") == (
        409,
        {"Error": "AlreadyLoggedOn", "Where": "phone d1", "Since": client.clock.now_ms()},
    )


@pytest.mark.parametrize("state", ["Ringing", "Talking"])
async def test_an_assistant_ended_from_his_desk_is_routed_to_until_his_contact_is_over(
    client: SimulatorClient, state: Literal["Ringing", "Talking"]
) -> None:
    client.sim.center.skew_ms = -90_000
    # the tenth agent leads his team: he may use both applications
    desk = await client.log_on("agent10", "desk", Application="Dashboard")
    pocket = await client.log_on("agent10", "pocket")
    agent = client.sim.center.directory.agents[10_010]
    contact = client.sim.center.give(agent, None, "Voice", state)
    limit_ms = client.sim.settings.after_contact_limit_s * 1000
    until_ms = client.sim.center.wall_ms + limit_ms
    path, secret = f"sessions/{pocket['ID']}", desk["SessionID"]
    handling = {"Routing": "AfterContact", "RoutedUntil": until_ms}
    assert await client.call("DELETE", path, secret=secret) == (200, handling)
    await client.clock.advance(5)
    assert await client.call("DELETE", path, secret=secret) == (200, handling)
    assert client.sim.sessions.routing_table() == {"agent10": "+49300000010"}
    client.sim.center.end(contact)
    assert await client.call("DELETE", path, secret=secret) == (200, {"Routing": "Removed"})
    assert client.sim.sessions.routing_table() == {}


@pytest.mark.parametrize("skew_ms", [150_000, -3_600_999])
async def test_every_answer_has_the_time_of_the_server(client: SimulatorClient, skew_ms: int) -> None:
    client.sim.center.skew_ms = skew_ms
    await client.clock.advance(7.75)
    headers = {"OSCCE-Session": (await client.log_on())["SessionID"]}
    received = formatdate((client.clock.now_ms() + skew_ms) // 1000, usegmt=True)
    for path, status in (("about", 200), ("sessions", 200), ("nowhere", 404)):
        async with client.http.get(f"{client.sim.url}/oscce/v1/{path}", headers=headers) as answer:
            assert (answer.status, answer.headers["Date"]) == (status, received)


async def test_a_body_that_is_no_object_is_a_bad_request(client: SimulatorClient) -> None:
    for data in (b"{", b"[]", b"[" * 30_000):
        async with aiohttp.ClientSession() as http:
            response = await http.post(f"{client.sim.url}/oscce/v1/sessions", data=data)
            assert (response.status, (await response.json())["Error"]) == (400, "BadRequest")


# ---- functions ----


def test_what_is_down_is_named_and_degraded_is_good_enough() -> None:
    functions = Functions()
    functions.states["Voice"] = "Degraded"
    functions.need("Voice", "RealTime")
    functions.states["RealTime"] = "Down"
    with pytest.raises(Refused) as refused:
        functions.need("Voice", "RealTime")
    assert refused.value.details == {"Function": "RealTime"}
    assert not functions.is_down("OpenMedia")


# ---- certificate of the simulator ----


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "oscce.example"])
def test_it_names_the_host_and_the_loopback(host: str) -> None:
    certificate, _ = self_signed(host)
    names = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    addresses = names.value.get_values_for_type(x509.IPAddress)
    assert ipaddress.ip_address("127.0.0.1") in addresses
    assert host in [*map(str, addresses), *names.value.get_values_for_type(x509.DNSName)]


# ---- remote numbers ----


SETTINGS = SimulatorSettings()


@pytest.mark.parametrize(
    "written", ["+49 30 1234567", "0049-30-1234567", "030/1234567", " (030) 12.345.67 ", "+49301234567"]
)
def test_one_number_has_one_form(written: str) -> None:
    assert normalise(written, SETTINGS) == "+49301234567"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("", "Missing"), ("  ", "Missing"), ("112", "Invalid"), ("0110", "Invalid"), ("+49*21#", "Invalid"),
        ("sip:anna@example.org", "Invalid"), ("4930 1234567", "Invalid"), ("+4930123456789012", "Invalid"),
        ("+٤٩٣٠١٢٣٤٥٦٧", "Invalid"), ("+882 1234567", "NotAllowed"), ("0900 1234567", "NotAllowed"),
        ("0137 1234567", "NotAllowed"),
    ],
)  # fmt: skip
def test_what_is_refused(written: str, name: str) -> None:
    with pytest.raises(Refused, match=f"RemoteNumber{name}"):
        normalise(written, SETTINGS)
