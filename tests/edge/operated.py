"""Nodes for tests of the admin routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from gateway.domain.commands import OperatorAct
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import UserId
from gateway.edge.admin import AdminParts, make_admin_app
from gateway.edge.export import AdminUsers, NodeHoldings
from gateway.protocol.bodies import BundleView
from gateway.protocol.envelopes import Order
from gateway.runtime.cluster_receiver import Page
from tests.runtime.nodes import Nodes, open_nodes
from tests.runtime.scene import Scene

TOKEN = "canary-token-of-operators"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
DIGEST = "0" * 64
ACT_ID = "00112233445566aa"
"""The id of every act here."""
LINE = {
    "id": "000000000000005.0000000001.n0", "node": "n0", "at_ms": 5, "initiator": "gateway",
    "close_code": 4109, "close_reason": "no pong", "user": f"{1:016x}", "application": "dashboard",
    "codec": "json", "address": "192.0.2.0/24", "lasted_s": 1.5, "frames_in": 1, "frames_out": 2,
    "bytes_out": 3, "conflated": 0, "commands": 0,
}  # fmt: skip
"""What is remembered of a connection."""


def named(user: UserId) -> str:
    return f"{user.key:016x}"


class FakeBundles:
    """Shows one bundle, and writes it once."""

    def __init__(self) -> None:
        self.purposes: list[str | None] = []
        self.written: list[str] = []

    async def preview(self, purpose: str | None) -> BundleView:
        self.purposes.append(purpose)
        return BundleView(DIGEST, 2, {"bundle": {"format": 1}})

    async def write(self, digest: str) -> BundleView:
        if digest != DIGEST:
            raise GatewayError(ErrorCode.NOT_FOUND, "No such bundle.")
        self.written.append(digest)
        return BundleView(digest, 2, path="bundle.json")


@dataclass
class Operated:
    """Nodes, and the operators' door of the first."""

    nodes: Nodes
    client: TestClient[Any, Any]
    audited: list[OperatorAct]
    bundles: FakeBundles
    done: list[tuple[int, str, str]]
    """What nodes were asked to do: number, act, subject."""
    lines: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """What each node remembers of connections."""

    async def ask(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        async with self.client.request(
            method, path, json=body, headers=BEARER if headers is None else headers
        ) as answer:
            return answer.status, await answer.json(content_type=None)


@asynccontextmanager
async def operated(nodes: int = 1) -> AsyncIterator[Operated]:
    """Run nodes whose first has a door for operators."""
    async with open_nodes(nodes) as at:
        done: list[tuple[int, str, str]] = []
        lines: dict[int, list[dict[str, Any]]] = {}
        for number, scene in enumerate(at.scenes):
            _teach(number, scene, done, lines)
        audited: list[OperatorAct] = []
        bundles = FakeBundles()
        node = at.scenes[0].node
        app = make_admin_app(
            AdminParts(TOKEN, node, named, audited.append, bundles, at.clock, lambda: ACT_ID)
        )
        async with TestClient(TestServer(app)) as client:
            yield Operated(at, client, audited, bundles, done, lines)


def _teach(
    number: int, scene: Scene, done: list[tuple[int, str, str]], lines: dict[int, list[dict[str, Any]]]
) -> None:
    async def closes(order: Order) -> Page:
        kept = sorted(lines.get(number, []), key=lambda line: str(line["id"]), reverse=True)
        chosen = [line for line in kept if not order.after or line["id"] < order.after]
        return Page(tuple(chosen[: order.most]), more=len(chosen) > order.most)

    async def do(order: Order) -> Page:
        done.append((number, order.act, order.subject))
        return Page()

    def closes_of(user: str) -> list[dict[str, Any]]:
        return [line for line in lines.get(number, []) if line["user"] == user]

    AdminUsers(scene.node, named).register_orders()
    scene.node.orders.register("closes", closes)
    scene.node.orders.register("export", NodeHoldings(scene.node, named, closes_of).export)
    for act in ("drain", "log_level", "reload"):
        scene.node.orders.register(act, do)
