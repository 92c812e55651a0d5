"""What is behind the doors for phones, put together?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.edge.bearer import Bearer
from gateway.edge.limits import Doors
from gateway.edge.login import Login
from gateway.edge.notices import Notices
from gateway.edge.ports import Accounts, Sessions
from gateway.edge.problems import problems
from gateway.edge.routes_public import PublicRoutes
from gateway.edge.routes_realtime import RealtimeRoute
from gateway.edge.routes_sessions import SessionRoutes
from gateway.edge.settings import EdgeSettings
from gateway.edge.token import Tokens
from gateway.edge.visitors import Visitors
from gateway.protocol.http_form import BODY_BYTES_MAX
from gateway.runtime.ports import Clock
from gateway.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class EdgeParts:
    """What the edge is made of. *jitter*: draws from [0, 1)."""

    settings: EdgeSettings
    node: Sessions
    accounts: Accounts
    tokens: Tokens
    notices: Notices
    doors: Doors
    clock: Clock
    jitter: Callable[[], float]
    telemetry: Telemetry


def make_app(parts: EdgeParts) -> web.Application:
    """Return the application of the client listener.

    Run it without an access log, which would name people, and without cancelling handlers whose
    client left, as a log-on or log-off that is under way must come to its end.
    """
    settings, node, accounts, clock = parts.settings, parts.node, parts.accounts, parts.clock
    visitors = Visitors(settings)
    bearer = Bearer(parts.tokens, node.denied, clock, grace_s=settings.log_off_grace_s)
    login = Login(settings, accounts, parts.tokens, parts.notices, clock, parts.telemetry)
    parts.telemetry.unhelloed_connections.set_function(lambda: parts.doors.unhelloed)
    app = web.Application(middlewares=[problems, visitors.pages], client_max_size=BODY_BYTES_MAX)
    app.on_response_prepare.append(visitors.dress)
    app.add_routes(PublicRoutes(settings, parts.notices, visitors).routes())
    app.add_routes(SessionRoutes(login, node, accounts, bearer, visitors, parts.doors, clock).routes())
    app.add_routes(
        RealtimeRoute(
            settings, node, bearer, visitors, parts.doors, clock, parts.jitter, parts.telemetry
        ).routes()
    )
    return app
