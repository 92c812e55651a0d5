"""What is behind the doors for phones, put together?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from gateway.edge.bearer import Bearer
from gateway.edge.limits import Doors
from gateway.edge.login import Login
from gateway.edge.notices import Notices
from gateway.edge.ports import NodeDoors
from gateway.edge.problems import problems
from gateway.edge.routes_public import PublicRoutes
from gateway.edge.routes_realtime import RealtimeRoute
from gateway.edge.routes_sessions import SessionRoutes
from gateway.edge.settings import EdgeSettings
from gateway.edge.token import Tokens
from gateway.edge.visitors import Visitors
from gateway.protocol.http_form import BODY_BYTES_MAX
from gateway.runtime.ports import Clock


@dataclass(frozen=True, slots=True)
class EdgeParts:
    """What the edge is made of. *jitter*: draws from [0, 1)."""

    settings: EdgeSettings
    node: NodeDoors
    tokens: Tokens
    notices: Notices
    doors: Doors
    clock: Clock
    jitter: Callable[[], float]


def make_app(parts: EdgeParts) -> web.Application:
    """Return the application of the client listener. Run it without an access log: that names people."""
    settings, node, clock = parts.settings, parts.node, parts.clock
    visitors = Visitors(settings)
    bearer = Bearer(parts.tokens, node.denied, clock, grace_s=settings.log_off_grace_s)
    login = Login(settings, node, parts.tokens, parts.notices, clock)
    app = web.Application(middlewares=[problems, visitors.pages], client_max_size=BODY_BYTES_MAX)
    app.on_response_prepare.append(visitors.dress)
    app.add_routes(PublicRoutes(settings, parts.notices, visitors).routes())
    app.add_routes(SessionRoutes(login, node, bearer, visitors, parts.doors, clock).routes())
    app.add_routes(RealtimeRoute(settings, node, bearer, visitors, parts.doors, clock, parts.jitter).routes())
    return app
