"""What is behind the doors for phones, put together?"""

from __future__ import annotations

from aiohttp import web

from gateway.edge.bearer import Bearer
from gateway.edge.callers import BURSTS, WAITING, Callers
from gateway.edge.handshake import WIRES
from gateway.edge.login import Login
from gateway.edge.parts import EdgeParts
from gateway.edge.problems import problems, reword
from gateway.edge.request_rates import RequestRates
from gateway.edge.routes_public import PublicRoutes
from gateway.edge.routes_realtime import RealtimeRoute
from gateway.edge.routes_sessions import SessionRoutes
from gateway.edge.visitors import Visitors
from gateway.edge.web import WebClient
from gateway.protocol.http_form import BODY_BYTES_MAX
from gateway.runtime.epoll_transport import Wires

__all__ = ["EdgeParts", "make_app"]


def make_app(parts: EdgeParts) -> web.Application:
    """Return the application of the client listener.

    Run it without an access log, which would name people, and without cancelling handlers whose
    client left, as a log-on or log-off that is under way must come to its end.
    """
    visitors = Visitors(parts.settings)
    bearer = Bearer(parts.tokens, parts.node.denied, parts.clock, grace_s=parts.settings.log_off_grace_s)
    parts.telemetry.unhelloed_connections.set_function(lambda: parts.doors.unhelloed)
    parts.telemetry.connections_limit.set(parts.settings.doors.connections)
    rates = RequestRates(parts.settings.doors, bearer, visitors, parts.clock)
    parts.telemetry.registry_size["requesters"].set_function(lambda: len(rates))
    app = web.Application(middlewares=[problems, rates.paid, visitors.pages], client_max_size=BODY_BYTES_MAX)
    app[WIRES] = Wires(now=parts.clock.now)
    doors = parts.settings.doors
    app[WAITING] = callers = Callers(
        BURSTS * doors.handshakes_burst,
        BURSTS * doors.handshakes_burst_of_address,
        parts.settings.trusted_proxies,
    )
    parts.telemetry.registry_size["callers"].set_function(lambda: len(callers))
    app.on_response_prepare.append(visitors.dress)
    app.on_response_prepare.append(reword)
    app.add_routes(PublicRoutes(parts.settings, parts.notices, visitors).routes())
    app.add_routes(SessionRoutes(parts, Login(parts), bearer, visitors).routes())
    app.add_routes(RealtimeRoute(parts, bearer, visitors).routes())
    app.add_routes(WebClient().routes())
    return app
