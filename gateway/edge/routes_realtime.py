"""Who may open a WebSocket, and what serves it?"""

from __future__ import annotations

from aiohttp import hdrs, web

from gateway.core.session import Session
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, SessionRefused
from gateway.edge.addresses import Address
from gateway.edge.bearer import Bearer
from gateway.edge.channel import Channel
from gateway.edge.errands import Errands
from gateway.edge.handshake import VERSION, accept, check_handshake
from gateway.edge.limits import Place
from gateway.edge.notices import languages
from gateway.edge.papers import Desk, Papers
from gateway.edge.parts import EdgeParts
from gateway.edge.problems import problem
from gateway.edge.routes_public import accept_language
from gateway.edge.socket import PhoneSocket, Staff
from gateway.edge.token import Opened
from gateway.edge.versions import check_version
from gateway.edge.vetting import Vetting
from gateway.edge.visitors import Visitors
from gateway.edge.witness import LEFT, Book, Witness
from gateway.protocol.codec import Codec, codec_for
from gateway.protocol.frames import ClientInfo


class RealtimeRoute:
    """``GET /v1/realtime``. Whatever speaks against a socket is said before the upgrade."""

    def __init__(self, parts: EdgeParts, bearer: Bearer, visitors: Visitors) -> None:
        self._parts = parts
        self._bearer = bearer
        self._visitors = visitors
        errands = Errands(parts.node, Vetting(parts.numbers, parts.notices), parts.clock)
        self._staff = Staff(parts.node, parts.pump, errands, self._admit_client)
        self._desk = Desk(bearer, parts.notices, parts.clock)
        self._book = Book(parts.telemetry, parts.note)

    def routes(self) -> list[web.RouteDef]:
        """Return it."""
        return [web.get("/v1/realtime", self.realtime, allow_head=False)]

    async def realtime(self, request: web.Request) -> web.StreamResponse:
        """Upgrade, and let the socket be served until its end. Its witness counts what became of it."""
        try:
            address = self._visitors.address(request)
            codec, shown, place = self._admit(request, address)
        except GatewayError as error:
            self._parts.telemetry.handshakes[error.code.value].inc()
            return _refused(error)
        try:
            channel, response = await accept(
                request, codec, message_bytes=self._parts.settings.session.frame_bytes_in
            )
        except BaseException:
            self._parts.telemetry.handshakes[LEFT].inc()
            place.leave()
            raise
        try:
            papers = Papers(self._desk, shown, languages(accept_language(request)))
            phone = self._phone(channel, papers, address)
        except BaseException:
            self._parts.telemetry.handshakes[LEFT].inc()
            place.leave()
            channel.abort()
            raise
        phone.begin(place)
        return response

    def _admit(self, request: web.Request, address: Address) -> tuple[Codec, Opened | None, Place]:
        """Look at everything that may speak against a socket."""
        self._visitors.check_way(request)  # the token may still come, in `hello`
        user = self._bearer.user_of(request.headers.getall(hdrs.AUTHORIZATION, []))
        self._parts.doors.knock(address, self._parts.clock.now(), user)
        codec = _codec(request)
        shown = self._shown(request)
        check_handshake(request)
        return codec, shown, self._parts.doors.enter(address, user)

    def _phone(self, channel: Channel, papers: Papers, address: Address) -> PhoneSocket:
        parts, now = self._parts, self._parts.clock.now()
        session = Session(channel.codec, parts.settings.session, now, parts.jitter())
        witness = Witness(self._book, channel.codec, address, now)
        return PhoneSocket(session, channel, self._staff, papers, witness)

    def _admit_client(self, client: ClientInfo) -> None:
        """Refuse a program that is too old."""
        try:
            check_version(client.platform, client.version, self._parts.settings.app_minimum)
        except GatewayError as error:
            raise SessionRefused(CloseCode.VERSION_UNSUPPORTED, error.code) from None

    def _shown(self, request: web.Request) -> Opened | None:
        authorization = request.headers.getall(hdrs.AUTHORIZATION, [])
        return self._bearer.of_header(authorization) if authorization else None


def _refused(error: GatewayError) -> web.Response:
    """Return the refusal; it says which version is spoken, for whoever asked in another (RFC 6455 §4.4)."""
    response = problem(error)
    response.headers[hdrs.SEC_WEBSOCKET_VERSION] = VERSION
    return response


def _codec(request: web.Request) -> Codec:
    """Return the first subprotocol of the client's list that is known (RFC 6455 §4.2.2)."""
    for offered in ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])).split(","):
        codec = codec_for(offered.strip())
        if codec is not None:
            return codec
    raise GatewayError(ErrorCode.BAD_REQUEST, "A subprotocol is needed: oscc.v1.json or oscc.v1.msgpack.")
