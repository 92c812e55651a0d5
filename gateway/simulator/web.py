"""HTTPS routes of the simulated server, and the upgrade to a link."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import ssl
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, hdrs, web
from aiohttp.typedefs import Middleware
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gateway.simulator import fields
from gateway.simulator.faults import Faults, Line, SocketOutlet
from gateway.simulator.fields import Body, Refused
from gateway.simulator.links import Link, Switchboard
from gateway.simulator.model import About, Json
from gateway.simulator.requests import Requests
from gateway.simulator.sessions import APPLICATIONS, Ended, LogOn, Session, Sessions
from gateway.simulator.settings import KEEP_ALIVE_S, Clock

SESSION_HEADER = "OSCCE-Session"
BODY_LIMIT_BYTES = 64 * 1024


class WebRoutes:
    """The routes of the local web server."""

    def __init__(self, board: Switchboard, about: About, faults: Faults, clock: Clock) -> None:
        self._clock = clock
        self._board = board
        self._about = about
        self._faults = faults

    def routes(self) -> list[web.RouteDef]:
        """Return the routes but the link."""
        return [
            web.get("/oscce/v1/about", self._answer_about),
            web.post("/oscce/v1/sessions", self._log_on),
            web.get("/oscce/v1/sessions", self._list),
            web.post("/oscce/v1/sessions/current/keepalive", self._keep_alive),
            web.delete("/oscce/v1/sessions/current", self._log_off),
            web.delete("/oscce/v1/sessions/{public_id}", self._end_other),
        ]

    async def date(self, _request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Set the response's date to the server's time, not that of the machine."""
        response.headers[hdrs.DATE] = formatdate(self._board.center.wall_ms // 1000, usegmt=True)

    @property
    def delays(self) -> Middleware:
        """Return the middleware that delays requests while the server is frozen or slow."""

        @web.middleware
        async def hold_up(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            while (wait_s := self._faults.wait_s()) > 0:
                await self._clock.sleep(wait_s)
                if self._faults.delay_s > 0:
                    break
            return await handler(request)

        return hold_up

    async def _answer_about(self, _request: web.Request) -> web.Response:
        return _answer(self._about.as_json() | {"ServerInstance": self._board.server_instance})

    async def _log_on(self, request: web.Request) -> web.Response:
        body = await read_body(request)
        self._faults.check_log_on()
        device = fields.mapping(body, "Device")
        asked = LogOn(
            fields.one_of(body, "Application", APPLICATIONS),
            fields.text(body, "UserName"),
            fields.text(body, "Password"),
            fields.text(device, "ID"),
            fields.text(device, "Name"),
            fields.optional_text(body, "RemoteNumber"),
            fields.flag(body, "Takeover", default=False),
        )
        session = self._sessions.log_on(asked)
        self._board.flush_ended()
        answer: Json = {
            "SessionID": session.secret,
            "ID": session.public_id,
            "ExpiresAt": session.expires_ms + self._board.center.skew_ms,
            "IdleTimeout": session.idle_timeout_s,
            "User": session.account.as_json(),
            "ServerInstance": self._board.server_instance,
        }
        number = self._sessions.remote_number(session)
        if number is not None:
            answer["RemoteNumber"] = number
        return _answer(answer, 201)

    async def _keep_alive(self, request: web.Request) -> web.Response:
        expires_ms = self._sessions.keep_alive(self._session(request))
        return _answer({"ExpiresAt": expires_ms + self._board.center.skew_ms})

    async def _list(self, request: web.Request) -> web.Response:
        own = self._session(request)
        found = [
            {
                "ID": each.public_id,
                "Application": each.application,
                "Device": {"ID": each.device_id, "Name": each.device_name},
                "Since": each.since_ms + self._board.center.skew_ms,
                "Attached": each.link_id is not None,
            }
            for each in self._sessions.of_user(own.account.key)
        ]
        return _answer({"Sessions": found})

    async def _log_off(self, request: web.Request) -> web.Response:
        return self._end(self._sessions.find(_secret(request)), None)

    async def _end_other(self, request: web.Request) -> web.Response:
        own = self._session(request)
        other = self._sessions.find_own(own, request.match_info["public_id"])
        return self._end(other, None if other is own else own.device_name)

    def _end(self, found: Session | Ended, by: str | None) -> web.Response:
        ended = found if isinstance(found, Ended) else self._sessions.end(found, "LoggedOff", by)
        self._board.flush_ended()
        return _answer(self._sessions.routing_of(ended))

    def _session(self, request: web.Request) -> Session:
        return self._sessions.get(_secret(request))

    @property
    def _sessions(self) -> Sessions:
        return self._board.sessions


@web.middleware
async def refusals(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn a refusal into the error body of the page."""
    try:
        return await handler(request)
    except Refused as refused:
        return _answer({"Error": refused.name, **refused.details}, refused.status)


async def read_body(request: web.Request) -> fields.Body:
    """Read a JSON object.

    Raises:
        Refused: ``BadRequest``.
    """
    try:
        body = json.loads(await request.text())
    except (ValueError, RecursionError):
        raise Refused("BadRequest") from None
    if not isinstance(body, dict):
        raise Refused("BadRequest")
    return body


def _answer(content: Json, status: int = 200) -> web.Response:
    return web.json_response(content, status=status, headers={"Cache-Control": "no-store"})


def _secret(request: web.Request) -> str:
    return request.headers.get(SESSION_HEADER, "")


PROTOCOL = "oscce.link.v1"
TOKEN_HEADER, HOLDER_HEADER = "OSCCE-Link-Token", "OSCCE-Link-Holder"
MESSAGE_LIMIT_BYTES = 8 * 1024 * 1024
INBOX_MOST = 1000
"""Requests that may wait while a link is frozen."""


class LinkRoute:
    """The link's route, and all open sockets.

    Invariant: every line in :attr:`lines` has a reader. A line that was silent for three times KeepAlive is
    cut at the next turn.
    """

    def __init__(
        self,
        board: Switchboard,
        requests: Requests,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        faults: Faults,
        limit_bytes: int,
    ) -> None:
        self._board = board
        self._requests = requests
        self._clock = clock
        self._tasks = tasks
        self._limit_bytes = limit_bytes
        self._faults = faults
        self.lines = faults.lines
        self.cut_slow = 0
        """Number of connections that were cut because too much data waited."""
        self._silence_at_s = clock.transport_s()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Open a link and serve it until it ends."""
        session = self._board.sessions.get(request.headers.get(SESSION_HEADER, ""))
        socket = web.WebSocketResponse(
            protocols=(PROTOCOL,), compress=False, max_msg_size=MESSAGE_LIMIT_BYTES, timeout=2.0
        )
        ready = socket.can_prepare(request)
        if not ready.ok or ready.protocol != PROTOCOL:
            raise Refused("BadRequest")  # before any link is replaced
        link = self._board.admit(session, _token(request), request.headers.get(HOLDER_HEADER))
        try:
            await socket.prepare(request)
            line = self._line(link, socket, request)
            self._board.opened(link, line.outlet)
            await self._read(line, socket)
        finally:
            gone = self.lines.pop(link.link_id, None)
            self.cut_slow += gone is not None and gone.outlet.cut_slow
            self._board.closed(link)
        return socket

    def turn(self) -> None:
        """Continue frozen lines and cut silent ones."""
        now_s = self._clock.transport_s()
        for line in list(self.lines.values()):
            if line.outlet.waiting:
                line.outlet.turn()
            if line.inbox and line.outlet.frozen_until_s <= now_s:
                waiting, line.inbox[:] = list(line.inbox), []
                for body in waiting:
                    self._execute(line, body)
        if now_s - self._silence_at_s >= 1:
            self._silence_at_s = now_s
            for line in list(self.lines.values()):
                if now_s - line.last_received_s > 3 * KEEP_ALIVE_S:
                    line.outlet.abort()

    def _line(self, link: Link, socket: web.WebSocketResponse, request: web.Request) -> Line:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the peer left during the handshake")

        def send_close(code: int) -> None:
            self._tasks.create_task(_close(socket, code))

        outlet = SocketOutlet(transport, self._clock, self._limit_bytes, send_close)
        line = Line(link, outlet, self._clock.transport_s())
        self.lines[link.link_id] = line
        self._faults.apply_to(line)
        return line

    async def _read(self, line: Line, socket: web.WebSocketResponse) -> None:
        async for received in socket:
            line.last_received_s = self._clock.transport_s()
            if received.type is not WSMsgType.TEXT:
                line.outlet.close(WSCloseCode.PROTOCOL_ERROR)
                continue
            try:
                body = json.loads(received.data)
            except (ValueError, RecursionError):
                body = None
            self._take(line, body)

    def _take(self, line: Line, body: object) -> None:
        if not isinstance(body, dict):
            line.outlet.close(WSCloseCode.PROTOCOL_ERROR)
        elif line.outlet.frozen_until_s <= self._clock.transport_s():
            self._execute(line, body)
        elif len(line.inbox) < INBOX_MOST:
            line.inbox.append(body)
        else:
            line.outlet.abort()

    def _execute(self, line: Line, body: Body) -> None:
        self._board.turn(self._clock.now_ms())  # deadlines need the present time
        try:
            self._requests.received(line.link, body)
        except Refused:
            line.outlet.close(WSCloseCode.PROTOCOL_ERROR)


async def _close(socket: web.WebSocketResponse, code: int) -> None:
    with contextlib.suppress(ConnectionError):  # the peer may be gone already
        await socket.close(code=code)


def _token(request: web.Request) -> int | None:
    header = request.headers.get(TOKEN_HEADER, "")
    return int(header) if header.isascii() and header.isdecimal() else None


VALID_FROM = datetime(2020, 1, 1, tzinfo=UTC)
VALID = timedelta(days=36500)


_USAGE: Final = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)
"""For a certificate that is its own authority, as Python 3.13 demands (RFC 5280)."""


def self_signed(host: str) -> tuple[bytes, bytes]:
    """Return certificate and key (PEM) for *host*, ``localhost`` and 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "OSCC-E simulator")])
    names = dict.fromkeys(map(_name, ("localhost", "127.0.0.1", host)))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_FROM + VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private


def server_context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """Return the listener's TLS context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "simulator.pem")
        path.touch(mode=0o600)
        path.write_bytes(key + certificate)
        context.load_cert_chain(path)
    return context


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
