"""Handshake: what is refused before the upgrade, and a connection that leaves aiohttp."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from docs._generate.metrics import VALUES
from gateway.domain.errors import CloseCode, ErrorCode, SessionRefused
from gateway.edge import handshake
from gateway.edge.channel import Channel
from gateway.edge.handshake import check_version, parse_version
from gateway.edge.request_context import PREFLIGHT_HEADERS, AdmissionLimits, cors_headers, may_connect
from gateway.protocol import frames
from gateway.protocol.codec import JSON, MSGPACK
from gateway.protocol.openapi import openapi
from tests.doubles.refusals import refused_with
from tests.edge.bad_requests import UPGRADE, filled
from tests.edge.channels import Serving, echo, raw
from tests.edge.conftest import Open
from tests.edge.raw_phone import KEY, PROOF
from tests.edge.visits import HELLO, SETTINGS, Gateway, bearer, code_of, ticket_of
from tests.protocol.framing import Received, closing, framed, text


@pytest.mark.parametrize("connection", ["Upgrade", "upgrade", "keep-alive, Upgrade"])
async def test_the_handshake_is_answered_as_the_rfc_says(serving: Serving, connection: str) -> None:
    client = await serving(echo)
    async with await raw(client, connection=connection) as phone:
        status, *lines = phone.head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert status == "HTTP/1.1 101 Switching Protocols"
        assert headers["sec-websocket-accept"] == PROOF
        assert headers["sec-websocket-protocol"] == JSON.subprotocol
        assert (headers["upgrade"], headers["connection"]) == ("websocket", "Upgrade")
        assert not {"sec-websocket-extensions", "content-length", "transfer-encoding"} & headers.keys()


async def test_what_came_with_the_handshake_is_not_lost(serving: Serving) -> None:
    early = text("a" * 1000) * 100
    async with await raw(await serving(echo), early=early + text("b")[:3]) as phone:
        phone.send(text("b")[3:] + closing(1000))
        assert await phone.end() == [Received(1, b"a" * 1000)] * 100 + [
            Received(1, b"b"),
            Received(8, b"\x03\xe8"),
        ]


DEFLATE = "permessage-deflate"


@pytest.mark.parametrize(
    "offer",
    [
        DEFLATE,
        f"{DEFLATE}; client_no_context_takeover; client_max_window_bits",
        f'{DEFLATE}; server_max_window_bits=10, x-webkit-deflate-frame, {DEFLATE}; x="1, 2"',
        "; ,=",
    ],
)
async def test_compression_is_refused_by_saying_nothing_of_it(serving: Serving, offer: str) -> None:
    asks = f"Upgrade\r\nSec-WebSocket-Extensions: {offer}"
    async with await raw(await serving(echo), connection=asks) as phone:
        assert phone.head.startswith("HTTP/1.1 101 ")
        assert "extensions" not in phone.head.lower()
        phone.send(text("plain"))
        assert await phone.hear() == Received(1, b"plain")
        phone.send(framed(1, b"\xf2\x48\xcd\xc9\xc9\x07\x00", rsv=4))  # "Hello" (RFC 7692 §7.2.3.1)
        assert [frame.payload[:2] for frame in await phone.end()] == [(1002).to_bytes(2, "big")]


async def test_a_client_that_would_compress_does_not(serving: Serving) -> None:
    client = await serving(echo)
    async with client.ws_connect("/", protocols=(JSON.subprotocol,), compress=15) as ws:
        assert ws.compress == 0
        await ws.send_str("x" * 1000)
        assert await ws.receive_str(timeout=5) == "x" * 1000


@pytest.mark.parametrize("said", ["Content-Length: 5", "Transfer-Encoding: chunked"])
async def test_a_handshake_with_a_body_is_none(serving: Serving, said: str) -> None:
    client = await serving(echo)
    async with await raw(client, connection=f"Upgrade\r\n{said}") as phone:
        assert phone.head.startswith("HTTP/1.1 500"), "the test's own server knows no problems"


async def test_the_parts_of_aiohttp_that_are_touched_are_there() -> None:
    async def never(request: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError

    server = web.Server(never)()
    assert (server._message_tail, server.transport) == (b"", None)
    server.connection_lost(None)


def objects_of_aiohttp() -> list[object]:
    """Return the protocols and requests of its servers; of what a weak reference stands for none is asked."""
    gc.collect()
    return [each for each in gc.get_objects() if issubclass(type(each), web.RequestHandler | web.Request)]


@pytest.mark.freezes
async def test_aiohttp_is_let_go(serving: Serving) -> None:
    """Nothing of it is left: neither its protocol, nor the request, nor a task, nor a timer."""
    gc.collect()
    gc.freeze()  # what earlier tests have left is not looked at
    seen: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()

    async def serve(channel: Channel) -> None:
        seen.set_result(channel)
        await echo(channel)

    client = await serving(serve)
    assert client.server.runner is not None
    server = client.server.runner.server
    assert isinstance(server, web.Server)
    async with await raw(client) as phone:
        transport = (await seen)._transport
        phone.send(text("still here"))
        assert await phone.hear() == Received(1, b"still here")
        assert isinstance(transport.get_protocol(), Channel)
        assert server.connections == []
        assert not objects_of_aiohttp()
        assert not [task for task in asyncio.all_tasks() if "web_protocol" in repr(task)]


async def test_a_server_that_ends_leaves_open_sockets_to_their_owner(serving: Serving) -> None:
    client = await serving(echo)
    assert client.server.runner is not None
    server = client.server.runner.server
    assert isinstance(server, web.Server)
    async with await raw(client) as phone:
        server.pre_shutdown()
        await server.shutdown(0.2)
        phone.send(text("still here"))
        assert await phone.hear() == Received(1, b"still here")


# ---- minimum versions of apps ----


NUMBERS = st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=5)


def dotted(numbers: list[int]) -> str:
    return ".".join(str(number) for number in numbers)


@given(NUMBERS, NUMBERS)
def test_versions_order_by_their_numbers(one: list[int], other: list[int]) -> None:
    width = max(len(one), len(other))
    padded = [numbers + [0] * (width - len(numbers)) for numbers in (one, other)]
    assert (parse_version(dotted(one)) < parse_version(dotted(other))) == (padded[0] < padded[1])


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1.2.0", (1, 2)), ("v3", (3,)), ("2.4.1-beta+7", (2, 4, 1)), ("dev", ()), ("", ()), ("\u0661.2", ())],
)
def test_only_the_numbers_count(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_version(text) == numbers


@pytest.mark.parametrize(("version", "minimum"), [("2.3.9", "2.4"), ("dev", "0.0.1")])
def test_an_app_that_is_older_or_has_no_number_is_refused(version: str, minimum: str) -> None:
    with refused_with(ErrorCode.VERSION_UNSUPPORTED) as refused:
        check_version("iOS", version, {"ios": minimum})
    assert refused.value.details == {"minimum": minimum}


@pytest.mark.parametrize(("platform", "version"), [("ios", "2.4"), ("ios", "2.10"), ("web", "dev")])
def test_others_pass(platform: str, version: str) -> None:
    check_version(platform, version, {"ios": "2.4"})


# ---- origins that may connect ----


LIST = frozenset({"https://app.example", "https://other.example:8443"})


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example", True), ("https://other.example:8443", True),
        ("https://app.example:443", False), ("http://app.example", False),
        ("https://app.example.evil", False), ("https://evil.app.example", False),
        ("https://gateway.example", False), ("HTTPS://APP.EXAMPLE", False), ("null", False), ("", False),
    ],
)  # fmt: skip
def test_a_list_is_exact_and_replaces_the_same_host(origin: str, allowed: bool) -> None:
    assert may_connect(origin, "gateway.example", LIST, tls=True) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "tls", "allowed"),
    [
        ("https://gateway.example", "gateway.example", True, True),
        ("https://gateway.example", "gateway.example:443", True, True),
        ("https://GATEWAY.example", "gateway.EXAMPLE", True, True),
        ("http://gateway.example", "gateway.example", True, False),
        ("http://gateway.example:8080", "gateway.example:8080", False, True),
        ("https://gateway.example", "gateway.example", False, True),
        ("https://gateway.example:8443", "gateway.example", True, False),
        ("https://gateway.example.evil", "gateway.example", True, False),
        ("https://user@gateway.example", "gateway.example", True, False),
        ("https://gateway.example/path", "gateway.example", True, False),
        ("ftp://gateway.example", "gateway.example", False, False),
        ("https://gateway.example:99999", "gateway.example", True, False),
        ("https://[::1", "gateway.example", True, False),
        ("https://gateway.example", None, True, False),
        ("null", "null", False, False),
        ("", "gateway.example", False, False),
    ],
)
def test_without_a_list_the_same_host_may(origin: str, host: str | None, tls: bool, allowed: bool) -> None:
    assert may_connect(origin, host, frozenset(), tls=tls) is allowed


@given(st.text(max_size=60), st.text(max_size=60) | st.none(), st.booleans())
def test_nothing_that_is_said_does_harm(origin: str, host: str | None, tls: bool) -> None:
    assert may_connect(origin, host, frozenset(), tls=tls) in {True, False}


def test_a_browser_learns_what_it_may_send_and_read() -> None:
    headers = cors_headers("https://app.example")
    assert headers["Access-Control-Allow-Origin"] == "https://app.example"
    assert headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in headers
    assert PREFLIGHT_HEADERS["Access-Control-Allow-Methods"] == "GET, POST, DELETE"
    assert PREFLIGHT_HEADERS["Access-Control-Allow-Headers"] == "Authorization, Content-Type"


# ---- no secret travels in clear text ----


REFUSED = (403, "untrusted_transport")
ELSEWHERE = replace(SETTINGS, insecure=False, trusted_proxies=(ip_network("10.0.0.0/8"),))
"""TLS ends at proxies, and who knocks is none of them."""
BEHIND = replace(ELSEWHERE, trusted_proxies=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
"""Who knocks is the proxy."""


async def test_where_secrets_come_along_clear_text_is_refused_and_nowhere_else(gateway_with: Open) -> None:
    """Secrets are tokens, or the password of a log-on."""
    gateway = await gateway_with(ELSEWHERE)
    for path, item in openapi()["paths"].items():
        headers = bearer(gateway.token()) | (UPGRADE if path == "/v1/realtime" else {})
        for method in item.keys() & {"get", "post", "delete"}:
            async with gateway.client.request(method, filled(path), headers=headers) as answer:
                if item[method]["security"] or path == "/v1/sessions":
                    assert await code_of(answer) == REFUSED
                else:
                    assert answer.status in {200, 404}
    assert (gateway.node.connections, gateway.node.credentials) == ([], [])


async def test_without_tls_head_is_refused_like_get_and_a_socket_beforehand(gateway_with: Open) -> None:
    gateway = await gateway_with(ELSEWHERE)
    assert (await gateway.client.head("/v1/session", headers=bearer(gateway.token()))).status == 403
    assert await code_of(await knock(gateway)) == REFUSED
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await gateway.hello(gateway.token())
    assert gateway.sample("handshakes_total", result="untrusted_transport") == 2


async def test_a_page_may_ask_beforehand(gateway_with: Open) -> None:
    gateway = await gateway_with(replace(ELSEWHERE, origins=frozenset({"https://app.example"})))
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    assert (await gateway.client.options("/v1/session", headers=headers)).status == 204


@pytest.mark.parametrize(("proto", "status"), [(None, 200), ("https", 200), ("wss", 200), ("http", 403)])
async def test_a_proxy_vouches_except_for_http(gateway_with: Open, proto: str | None, status: int) -> None:
    gateway = await gateway_with(BEHIND)
    said = {} if proto is None else {"X-Forwarded-Proto": proto}
    answer = await gateway.client.get("/v1/session", headers=bearer(gateway.token()) | said)
    assert answer.status == status
    assert (await knock(gateway, **said)).status == (101 if status == 200 else 403)


# ---- metric of handshakes ----


def results(gateway: Gateway) -> dict[str, float]:
    """Return what was counted, without what never happened."""
    counts = {of: gateway.sample("handshakes_total", result=of) for of in VALUES["handshakes.result"]}
    return {of: count for of, count in counts.items() if count}


async def test_who_is_welcomed_is_ok_once(gateway: Gateway) -> None:
    phone = await gateway.served()
    assert results(gateway) == {"ok": 1}
    await gateway.leave(phone)
    assert results(gateway) == {"ok": 1}


async def test_many_with_a_bad_token_are_not_ok(gateway: Gateway) -> None:
    for _ in range(3):
        assert (await (await gateway.hello("nonsense")).end())[1] == 4001
    assert results(gateway) == {"token_invalid": 3}


async def test_a_refusal_is_counted_by_the_name_of_its_code(gateway: Gateway) -> None:
    for code in CloseCode:
        gateway.node.refusal = SessionRefused(code, "why")
        assert (await (await gateway.hello(gateway.token())).end())[1] == code
    assert results(gateway) == {code.name.lower(): 1 for code in CloseCode}


async def test_who_says_no_hello_is_counted_at_the_end(gateway: Gateway) -> None:
    phone = await gateway.connect()
    assert results(gateway) == {}, "an upgrade alone is nothing yet"
    await gateway.clock.advance(5.1)
    assert (await phone.end())[1] == 4110
    assert results(gateway) == {"hello_timeout": 1}


@pytest.mark.parametrize("code", [1000, 4001])
async def test_who_goes_before_either_has_left_whatever_he_calls_it(gateway: Gateway, code: int) -> None:
    phone = await gateway.connect()
    await phone.ws.close(code=code)
    await gateway.clock.settle()
    assert results(gateway) == {"left": 1}


async def test_who_goes_in_the_handshake_has_left(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gone(*_: object, **__: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(handshake, "accept", gone)
    with pytest.raises(aiohttp.ClientError):
        await gateway.connect()
    assert results(gateway) == {"left": 1}
    assert gateway.admission.sockets == 0


async def test_a_phone_that_is_there_when_the_process_ends_has_left(gateway: Gateway) -> None:
    await gateway.connect()
    for socket in list(gateway.parts.phones):
        socket.abandon()
    assert results(gateway) == {"left": 1}


async def test_whose_end_overtakes_the_welcome_is_not_ok(gateway: Gateway) -> None:
    gateway.node.gate.clear()
    phone = await gateway.hello(gateway.token())
    await gateway.clock.settle()
    (socket,) = gateway.parts.phones
    gateway.node.gate.set()  # the node's answer is there before the socket's turn, and too late
    socket.close(CloseCode.REPLACED, "replaced")
    assert (await phone.end())[1] == CloseCode.REPLACED
    assert results(gateway) == {"replaced": 1}


async def test_they_add_up_to_all_who_came(gateway: Gateway) -> None:
    await knock(gateway, Authorization="Bearer nonsense")
    await knock(gateway, Upgrade=None)
    await gateway.served()
    await (await gateway.hello(None)).end()
    hasty = await gateway.connect()
    await hasty.say(frames.Follow("f", ("queues",)))
    await hasty.end()
    await (await gateway.connect()).ws.close()
    await gateway.clock.settle()
    refused = {"unauthenticated": 1, "bad_request": 1, "token_invalid": 1, "protocol_error": 1}
    assert results(gateway) == refused | {"ok": 1, "left": 1}


# ---- refusals before the upgrade to a WebSocket ----


async def knock(gateway: Gateway, **headers: str | None) -> aiohttp.ClientResponse:
    """Ask for a WebSocket with some headers changed or left out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {name: value for name, value in (UPGRADE | named).items() if value is not None}
    return await gateway.client.get("/v1/realtime", headers=sent)


async def test_an_upgrade_has_the_first_known_subprotocol_and_the_usual_headers(gateway: Gateway) -> None:
    protocols = ("other", MSGPACK.subprotocol, "oscc.v1.json")
    ws = await gateway.client.ws_connect("/v1/realtime", protocols=protocols)
    assert ws.protocol == MSGPACK.subprotocol
    await ws.close()
    ws = await gateway.client.ws_connect("/v1/realtime", protocols=("oscc.v1.json",))
    assert ws._response.headers["Cache-Control"] == "no-store"
    await ws.close()
    answer = await knock(gateway, Sec_WebSocket_Version="99")
    assert (answer.status, answer.headers["Sec-WebSocket-Version"]) == (400, "13")
    assert gateway.admission.sockets == 0


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (f"Sec-WebSocket-Key: {KEY}", 400),
        ("Sec-WebSocket-Key: \u00ff", 400),
        ("Sec-WebSocket-Protocol: chat", 101),
    ],
)
async def test_nobody_writes_a_line_into_the_log_by_a_handshake(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, head: str, status: int
) -> None:
    async with await gateway.raw(connection=f"Upgrade\r\n{head}") as phone:
        assert phone.head.split()[1] == str(status)
    assert caplog.records == []


async def test_its_own_page_may_connect(gateway: Gateway) -> None:
    own = f"http://{gateway.client.host}:{gateway.client.port}"
    ws = await gateway.client.ws_connect("/v1/realtime", protocols=("oscc.v1.json",), origin=own)
    await ws.close()


async def test_a_page_on_the_list_may_connect(gateway_with: Open) -> None:
    page = "https://app.example"
    gateway = await gateway_with(replace(SETTINGS, origins=frozenset({page})))
    ws = await gateway.client.ws_connect("/v1/realtime", protocols=("oscc.v1.json",), origin=page)
    await ws.close()
    own = f"http://{gateway.client.host}:{gateway.client.port}"
    assert await code_of(await knock(gateway, Origin=own)) == (403, "forbidden")


async def test_silent_sockets_of_an_address_stop_none_of_its_neighbours(gateway_with: Open) -> None:
    gateway = await gateway_with(replace(SETTINGS, admission=AdmissionLimits(unhelloed_per_address=3)))
    silent = [await gateway.connect() for _ in range(3)]
    first = await gateway.hello(gateway.token())
    await first.hear_all("welcome")
    assert gateway.sample("unhelloed_connections") == 2
    bye, code = await silent[0].end()
    assert (code, bye and bye.code, bye and bye.reconnect) == (4110, 4110, "after")
    ticket = ticket_of(gateway.clock, session="public-2", key=8)
    waiting = await gateway.connect()
    second = await gateway.connect(headers=bearer(gateway.token(ticket)))
    assert gateway.sample("unhelloed_connections") == 4, "who shows a token takes no place of the address"
    await second.say(frames.Hello(HELLO.client))
    await second.hear_all("welcome")
    for phone in (*silent[1:], waiting):
        assert not phone.ws.closed
    assert gateway.admission.sockets == 5


async def test_a_token_in_the_header_counts_for_its_user_not_for_the_address(gateway_with: Open) -> None:
    limits = AdmissionLimits(handshakes_per_s_of_address=0.5, handshakes_burst_of_address=1)
    gateway = await gateway_with(replace(SETTINGS, admission=limits))
    await gateway.connect()
    assert await code_of(await knock(gateway)) == (429, "rate_limited")
    assert await code_of(await knock(gateway, **bearer("nonsense"))) == (429, "rate_limited")
    await gateway.connect(headers=bearer(gateway.token()))
    again = await knock(gateway, **bearer(gateway.token()))
    assert await code_of(again) == (429, "rate_limited"), "and no faster than an address may come"


@pytest.mark.parametrize("fault", [ZeroDivisionError, OSError, ConnectionResetError])
@pytest.mark.parametrize("step", ["accept", "SessionCredentials", "Session", "ConnectionStats"])
async def test_whatever_fails_at_an_upgrade_the_place_is_given_back(
    gateway: Gateway, step: str, fault: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(handshake, step, fail)
        with suppress(aiohttp.ClientError):
            await knock(gateway)
    assert (gateway.admission.sockets, gateway.admission.unhelloed) == (0, 0)
    assert gateway.sample("handshakes_total", result="left") == 1
    await gateway.served()
