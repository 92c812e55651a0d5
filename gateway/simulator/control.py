"""How do tests and demos look behind the scenes? JSON over HTTP on the loopback interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from gateway.simulator.changes import Kind
from gateway.simulator.elements import render
from gateway.simulator.model import Json

if TYPE_CHECKING:
    from gateway.simulator.server import Simulator


class ControlDoor:
    """The routes under ``/simulator/v1/``."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def routes(self) -> list[web.RouteDef]:
        """List the routes."""
        return [
            web.get("/simulator/v1/routing", self._routing),
            web.get("/simulator/v1/truth", self._truth),
            web.post("/simulator/v1/pause", self._pause),
            web.post("/simulator/v1/resume", self._resume),
        ]

    async def _routing(self, _request: web.Request) -> web.Response:
        return web.json_response(self._simulator.sessions.routing_table())

    async def _truth(self, _request: web.Request) -> web.Response:
        center = self._simulator.center
        scope = center.directory.everything().keys
        truth: Json = {
            kind.value: [found for key in sorted(scope) if (found := render(center, kind, key)) is not None]
            for kind in Kind
        }
        return web.json_response({"Time": center.wall_ms, **truth})

    async def _pause(self, _request: web.Request) -> web.Response:
        self._simulator.center.pause()
        self._simulator.board.publish()
        return web.json_response({})

    async def _resume(self, _request: web.Request) -> web.Response:
        self._simulator.center.resume()
        return web.json_response({})
