"""How is what operators may do put together, on nodes with and without a listener for them?"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, get_args
from urllib.parse import urlsplit

import structlog

from gateway.app.admin_listener import admin_listening
from gateway.app.audit_trail import AuditTrail
from gateway.app.bundle import BundleParts
from gateway.app.bundle_writing import BundleWriting
from gateway.app.closes import Closes
from gateway.app.config_sections import Settings
from gateway.app.log_fields import Pseudonyms
from gateway.app.logging import Level, set_level
from gateway.app.reloading import StaysOld
from gateway.app.stopping import Stopping
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.edge.admin import AdminParts, make_admin_app
from gateway.edge.admin_export import Holdings
from gateway.protocol.envelopes import NodeRecord, Order
from gateway.runtime.node import Node
from gateway.runtime.orders import Page
from gateway.runtime.people import People

_DONE: Final = Page()
_LEVELS: Final[dict[str, Level]] = {level: level for level in get_args(Level)}
_LOG: Final = structlog.get_logger("gateway.app")


@dataclass(frozen=True, slots=True)
class Administration:
    """What operators may do at one node.

    *read_anew* puts in force what files say now, or raises :class:`StaysOld`; *render* writes the metrics.
    """

    settings: Settings
    node: Node
    closes: Closes
    pseudonyms: Pseudonyms
    trail: AuditTrail
    stopping: Stopping
    read_anew: Callable[[], Awaitable[None]]
    render: Callable[[], bytes]

    def teach(self) -> None:
        """Have the node carry out what operators ask, here or by way of another node."""
        People(self.node, self.pseudonyms.of).teach()
        holdings = Holdings(self.node, self.pseudonyms.of, self.closes.of)
        for act in (
            self.closes.closes,
            holdings.export,
            self.drain,
            self.log_level,
            self.reload,
        ):
            self.node.orders.learn(act.__name__, act)

    async def drain(self, order: Order) -> Page:
        """Leave, as on SIGTERM; asked again it is in no more of a hurry."""
        if not self.stopping.asked.is_set():
            _LOG.info("asked to drain", node=order.node)
        self.stopping.ask_gently()
        return _DONE

    async def log_level(self, order: Order) -> Page:
        """Change the least level that is logged.

        Raises:
            GatewayError: ``bad_request``: there is no such level.
        """
        level = _LEVELS.get(order.subject)
        if level is None:
            raise GatewayError(ErrorCode.BAD_REQUEST, "There is no such level.")
        before = logging.getLevelName(logging.getLogger().level).lower()
        if level != before:
            set_level("info")  # the line that says why others are missing is itself never missing
            _LOG.info("the log level has changed", gone=before, new=level, node=order.node)
            set_level(level)
        return _DONE

    async def reload(self, order: Order) -> Page:  # noqa: ARG002 - an order's signature
        """Read anew what may change; return the sealing keys in force, and what stays old."""
        kept: tuple[str, ...] = ()
        try:
            await self.read_anew()
        except StaysOld as old:
            kept = old.what
        keys = {"sealing_keys": self.node.record().sealing_keys.split()}
        return Page((keys, *({"kept": each} for each in kept)))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str | None]:
        """Serve operators while the block lasts, if they have a token; gives the address.

        Raises:
            CannotListen: The address is not to be had.
        """
        admin, node = self.settings.admin, self.node
        if admin.token is None:
            yield None
            return
        bundles = BundleParts(
            self.settings, self.closes, self.render, self._nodes, node.clock.wall_ms, os.environ
        )
        parts = AdminParts(
            admin.token.get_secret_value(),
            node,
            self.pseudonyms.of,
            self.trail.note,
            BundleWriting(bundles, admin.bundle_folder, node.clock),
            node.clock,
            partial(secrets.token_hex, 8),
        )
        async with admin_listening(admin, make_admin_app(parts)) as address:
            _LOG.info("listens", listener="admin", **_place(admin.host, address))
            yield address

    def _nodes(self) -> tuple[NodeRecord, ...]:
        own = self.node.record()
        return (own, *(each for each in self.node.fleet.nodes if each.holder != own.holder))


def _place(host: str, address: str) -> dict[str, str | int | None]:
    """Return where a listener is, as log lines have it."""
    if address.startswith("unix:"):
        return {"socket": address.removeprefix("unix:")}
    return {"host": host, "port": urlsplit(address).port}
