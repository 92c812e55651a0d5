"""Is each HTTPS route answered as the page says?"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import replace
from email.utils import formatdate
from typing import Any, Literal

import aiohttp
import pytest
from cryptography import x509

from gateway.simulator import ManualClock, Simulator
from gateway.simulator.contact_center import MANAGERS, Functions
from gateway.simulator.fields import Refused
from gateway.simulator.model import about_of
from gateway.simulator.sessions import normalise
from gateway.simulator.settings import SimulatorSettings
from gateway.simulator.web import self_signed, server_context
from tests.simulator.peer import QUIET
from tests.simulator.wire import Wire


async def test_log_on_answers_everything_that_the_page_names(wire: Wire) -> None:
    answer = await wire.log_on("supervisor1")
    assert set(answer) == {"SessionID", "ID", "ExpiresAt", "IdleTimeout", "User", "ServerInstance"}
    assert len(answer["SessionID"]) >= 32
    assert answer["ExpiresAt"] == wire.clock.now_ms() + 8 * 3600 * 1000
    assert answer["IdleTimeout"] == 0
    assert answer["User"]["ID"] == "supervisor1"


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
async def test_log_on_errors(wire: Wire, user: str, more: dict[str, Any], status: int, name: str) -> None:
    await wire.log_on("agent2")
    assert await wire.try_log_on(user, **more) == (status, {"Error": name, **_detail(more, name)})


def _detail(more: dict[str, Any], name: str) -> dict[str, Any]:
    return {"Field": next(iter(more))} if name == "BadRequest" else {}


async def test_a_blocked_a_locked_and_a_second_log_on(wire: Wire) -> None:
    await wire.control("POST", "act", {"Act": "Block", "User": "supervisor2"})
    assert (await wire.try_log_on("supervisor2"))[1]["Error"] == "AccountBlocked"
    for _ in range(5):
        await wire.try_log_on("supervisor1", Password="x")
    assert await wire.try_log_on("supervisor1") == (423, {"Error": "AccountLocked", "RetryAfter": 60})
    await wire.log_on("agent1", "d1")
    assert await wire.try_log_on("agent1", "d2") == (
        409,
        {"Error": "AlreadyLoggedOn", "Where": "phone d1", "Since": wire.clock.now_ms()},
    )


async def test_over_the_budget_it_is_unavailable() -> None:
    async with (
        Simulator(replace(QUIET, log_on_budget_per_s=2), ManualClock()) as simulator,
        Wire(simulator) as wire,
    ):
        statuses = [(await wire.try_log_on("supervisor1", f"d{n}"))[0] for n in range(3)]
        assert statuses == [201, 201, 503]
        await wire.clock.advance(0.5)
        await wire.log_on("supervisor1")


async def test_sessions_are_listed_and_ended(wire: Wire) -> None:
    one = await wire.log_on("supervisor1", "d1")
    two = await wire.log_on("supervisor1", "d2")
    line = await wire.link(two["SessionID"])
    await line.greeting()
    listed = (await wire.call("GET", "sessions", secret=one["SessionID"]))[1]["Sessions"]
    assert {each["ID"]: each["Attached"] for each in listed} == {one["ID"]: False, two["ID"]: True}
    path = f"sessions/{two['ID']}"
    assert await wire.call("DELETE", path, secret=one["SessionID"]) == (200, {"Routing": "None"})
    assert await line.read() == {
        "Type": "SessionEnded",
        "Session": 1,
        "Reason": "LoggedOff",
        "By": "phone d1",
    }
    assert await wire.call("DELETE", path, secret=one["SessionID"]) == (200, {"Routing": "None"})
    assert (await wire.call("DELETE", "sessions/nothing", secret=one["SessionID"]))[0] == 404
    assert await wire.call("DELETE", "sessions/current", secret=two["SessionID"]) == (
        200,
        {"Routing": "None"},
    )
    assert (await wire.call("POST", "sessions/current/keepalive", secret=two["SessionID"]))[0] == 401


@pytest.mark.parametrize("state", ["Ringing", "Talking"])
async def test_an_assistant_ended_from_his_desk_is_routed_to_until_his_contact_is_over(
    wire: Wire, state: Literal["Ringing", "Talking"]
) -> None:
    wire.sim.center.skew_ms = -90_000
    # the tenth agent leads his team: he may use both applications
    desk = await wire.log_on("agent10", "desk", Application="Dashboard")
    pocket = await wire.log_on("agent10", "pocket")
    agent = wire.sim.center.directory.agents[10_010]
    contact = wire.sim.center.give(agent, None, "Voice", state)
    limit_ms = wire.sim.settings.after_contact_limit_s * 1000
    until_ms = wire.sim.center.wall_ms + limit_ms
    path, secret = f"sessions/{pocket['ID']}", desk["SessionID"]
    handling = {"Routing": "AfterContact", "RoutedUntil": until_ms}
    assert await wire.call("DELETE", path, secret=secret) == (200, handling)
    await wire.clock.advance(5)
    assert await wire.call("DELETE", path, secret=secret) == (200, handling)
    assert wire.sim.sessions.routing_table() == {"agent10": "+49300000010"}
    wire.sim.center.end(contact)
    assert await wire.call("DELETE", path, secret=secret) == (200, {"Routing": "Removed"})
    assert wire.sim.sessions.routing_table() == {}


@pytest.mark.parametrize("skew_ms", [0, 150_000, -3_600_999])
async def test_every_answer_tells_the_time_of_the_server(wire: Wire, skew_ms: int) -> None:
    wire.sim.center.skew_ms = skew_ms
    await wire.clock.advance(7.75)
    session = (await wire.log_on())["SessionID"]
    told = formatdate((wire.clock.now_ms() + skew_ms) // 1000, usegmt=True)
    for method, path, status in (
        ("GET", "about", 200),
        ("GET", "sessions", 200),
        ("DELETE", "sessions/nothing", 404),
        ("GET", "nowhere", 404),
    ):
        url, headers = f"{wire.sim.url}/oscce/v1/{path}", {"OSCCE-Session": session}
        async with wire.http.request(method, url, headers=headers) as answer:
            assert (answer.status, answer.headers["Date"]) == (status, told)
    assert (await wire.call("GET", "sessions"))[0] == 401


async def test_keep_alive_moves_the_end(wire: Wire) -> None:
    session = await wire.log_on()
    await wire.clock.advance(10)
    status, answer = await wire.call("POST", "sessions/current/keepalive", secret=session["SessionID"])
    assert (status, answer["ExpiresAt"]) == (200, session["ExpiresAt"] + 10_000)


@pytest.mark.parametrize("path", ["sessions", "sessions/current"])
async def test_without_a_session_nothing_is_told(wire: Wire, path: str) -> None:
    method = "GET" if path == "sessions" else "DELETE"
    assert await wire.call(method, path, secret="guessed") == (401, {"Error": "SessionUnknown"})


async def test_a_body_that_is_no_object_is_a_bad_request(wire: Wire) -> None:
    for data in (b"{", b"[]", b"[" * 30_000):
        async with aiohttp.ClientSession() as http:
            response = await http.post(f"{wire.sim.url}/oscce/v1/sessions", data=data)
            assert (response.status, (await response.json())["Error"]) == (400, "BadRequest")


# ---- Which server does the simulator say it is? ----


def test_it_changes_its_mind() -> None:
    about = about_of(replace(SimulatorSettings(), extensions_version="garbage", features=("Skills",)))
    about.features.add("Telepathy")
    assert about.as_json()["ExtensionsVersion"] == "garbage"
    assert about.as_json()["Features"] == ["Skills", "Telepathy"]
    about.need("Skills")
    with pytest.raises(Refused, match="Unsupported"):
        about.need("RemoteAgent")


# ---- Which functions are up? ----


def test_all_are_up_at_first_and_told_with_their_manager() -> None:
    told = Functions().messages()
    assert {each["Function"]: each["Manager"] for each in told} == MANAGERS
    assert {each["State"] for each in told} == {"Up"}


def test_what_is_down_is_named_and_degraded_is_good_enough() -> None:
    functions = Functions()
    functions.states["Voice"] = "Degraded"
    functions.need("Voice", "RealTime")
    functions.states["RealTime"] = "Down"
    with pytest.raises(Refused) as refused:
        functions.need("Voice", "RealTime")
    assert refused.value.details == {"Function": "RealTime"}
    assert not functions.is_down("OpenMedia")


# ---- Does the certificate fit the host? ----


@pytest.mark.parametrize("host", ["127.0.0.1", "10.1.2.3", "oscce.example"])
def test_it_names_the_host_and_the_loopback(host: str) -> None:
    certificate, _ = self_signed(host)
    names = x509.load_pem_x509_certificate(certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    addresses = names.value.get_values_for_type(x509.IPAddress)
    assert ipaddress.ip_address("127.0.0.1") in addresses
    assert host in [*map(str, addresses), *names.value.get_values_for_type(x509.DNSName)]


def test_a_listener_can_use_it() -> None:
    context = server_context(*self_signed("localhost"))
    assert context.protocol is ssl.PROTOCOL_TLS_SERVER


# ---- Which remote numbers are allowed, and how are they written? ----


SETTINGS = SimulatorSettings()


@pytest.mark.parametrize(
    "written", ["+49 30 1234567", "0049-30-1234567", "030/1234567", " (030) 12.345.67 ", "+49301234567"]
)
def test_one_number_has_one_form(written: str) -> None:
    assert normalise(written, SETTINGS) == "+49301234567"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("", "RemoteNumberMissing"),
        ("  ", "RemoteNumberMissing"),
        ("112", "RemoteNumberInvalid"),
        ("0110", "RemoteNumberInvalid"),
        ("+49*21#", "RemoteNumberInvalid"),
        ("sip:anna@example.org", "RemoteNumberInvalid"),
        ("4930 1234567", "RemoteNumberInvalid"),
        ("+4930123456789012", "RemoteNumberInvalid"),
        ("+٤٩٣٠١٢٣٤٥٦٧", "RemoteNumberInvalid"),
        ("+882 1234567", "RemoteNumberNotAllowed"),
        ("0900 1234567", "RemoteNumberNotAllowed"),
        ("0137 1234567", "RemoteNumberNotAllowed"),
    ],
)
def test_what_is_refused(written: str, name: str) -> None:
    with pytest.raises(Refused, match=name):
        normalise(written, SETTINGS)
