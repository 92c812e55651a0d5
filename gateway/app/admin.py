"""Admin operations of a node: recent closes, support bundles, drain, log level and reload."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import platform
import resource
import secrets
import stat
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from heapq import nlargest
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args
from urllib.parse import urlsplit

import structlog

import gateway
from gateway.app.config.errors import PREFIX
from gateway.app.config.settings import Settings
from gateway.app.config.sources import Configuration, effective_toml
from gateway.app.listeners import admin_listening
from gateway.app.logging import AuditTrail, Level, LogLines, Pseudonyms, Shape, field_shapes, set_level
from gateway.app.process import StopRequest
from gateway.app.reload import ReloadFailed
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId
from gateway.edge.admin import AdminParts, make_admin_app
from gateway.edge.channel import ConnectionSummary
from gateway.edge.export import AdminUsers, NodeHoldings
from gateway.protocol.bodies import BundleView
from gateway.protocol.envelopes import NodeRecord, Order, Record
from gateway.protocol.schemas import API_VERSION
from gateway.runtime.cluster_receiver import Page
from gateway.runtime.node import Node
from gateway.runtime.ports import Clock

CLOSES_MAX: Final = 10_000
"""The last so many; beyond it the oldest is forgotten."""
CLOSES_MS: Final = 86_400_000
"""So long; what is older is forgotten when a connection ends or the list is requested."""
CLOSE_FIELDS: Final = (
    "initiator",
    "close_code",
    "close_reason",
    "user",
    "application",
    "codec",
    "address",
    "lasted_s",
    "frames_in",
    "frames_out",
    "bytes_out",
    "conflated",
    "commands",
)
"""What the log's line of a session says, in this order."""

_VALUES: Final = attrgetter(*CLOSE_FIELDS)
_Close = tuple[int, int, tuple[object, ...]]
"""When, its number, and the values of :data:`CLOSE_FIELDS`."""


class CloseHistory:
    """The last connections of this node that ended.

    Invariant: a value is kept in the shape in which it may be logged, or not at all.

    Args:
        node: This node.
        pseudonyms: Names users.
        wall_ms: Returns the time.
        kept: How many are kept.
    """

    def __init__(
        self, node: NodeId, pseudonyms: Pseudonyms, wall_ms: Callable[[], int], *, kept: int = CLOSES_MAX
    ) -> None:
        self._node = node
        self._wall_ms = wall_ms
        shapes = field_shapes(pseudonyms)
        self._shapes: tuple[Shape, ...] = tuple(shapes[name] for name in CLOSE_FIELDS)
        self._ring: deque[_Close] = deque(maxlen=kept)
        self._number = 0

    def __len__(self) -> int:
        return len(self._young())

    def note(self, life: ConnectionSummary) -> None:
        """Keep what is left of a connection."""
        self._number += 1
        values = tuple(shape(value) for shape, value in zip(self._shapes, _VALUES(life), strict=True))
        self._young().append((self._wall_ms(), self._number, values))

    async def closes(self, order: Order) -> Page:
        """Return a page, the newest first: what came before the one called ``order.after``."""
        chosen = nlargest(order.most + 1, self._before(order.after), key=lambda kept: kept[:2])
        records = tuple(self._record(kept) for kept in chosen[: order.most])
        return Page(records, more=len(chosen) > order.most)

    def last(self, most: int) -> list[Record]:
        """Return the last so many, the newest first."""
        return [self._record(kept) for _, kept in zip(range(most), reversed(self._young()), strict=False)]

    def of(self, user: str) -> list[Record]:
        """Return those of a user, by keyed hash."""
        at = CLOSE_FIELDS.index("user")
        return [self._record(kept) for kept in self._young() if kept[2][at] == user]

    def _young(self) -> deque[_Close]:
        """Let go of what is too old; returns the others."""
        begins_ms = self._wall_ms() - CLOSES_MS
        while self._ring and self._ring[0][0] < begins_ms:
            self._ring.popleft()
        return self._ring

    def _before(self, last: str) -> Iterator[_Close]:
        return (kept for kept in self._young() if not last or self._id(kept) < last)

    def _id(self, kept: _Close) -> str:
        """Return its name: of two of the whole gateway the later one's is greater."""
        return f"{kept[0]:015d}.{kept[1]:010d}.{self._node}"

    def _record(self, kept: _Close) -> Record:
        values = dict(zip(CLOSE_FIELDS, kept[2], strict=True))
        values["close_reason"] = values["close_reason"] or ""
        return {"id": self._id(kept), "node": self._node, "at_ms": kept[0], **values}


# ---- support bundle ----


BUNDLE_FORMAT: Final = 1
BUNDLE_KEEP_S: Final = 30 * 86_400
"""After this time a bundle is to be deleted, as it says itself."""
BUNDLE_CLOSES: Final = 1_000
BUNDLE_SESSIONS: Final = 200
"""Of the last connections that ended: how many are listed by reason, how many one by one."""
PURPOSE_UNSTATED: Final = "support; nobody stated more"
_PACKAGES: Final = (
    "aiohttp",
    "cryptography",
    "hiredis",
    "msgpack",
    "msgspec",
    "phonenumbers",
    "prometheus-client",
    "pydantic",
    "redis",
    "structlog",
    "uvloop",
)
_CLOSE_COLUMNS: Final = ("at_ms", "initiator", "close_code", "close_reason", "application", "lasted_s")

Bundle = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BundleSources:
    """What a bundle is made of. *render* writes the metrics, *nodes* returns those that live, own first.

    *log_lines* returns the last log lines of this process, the oldest first.
    """

    settings: Settings
    closes: CloseHistory
    render: Callable[[], bytes]
    nodes: Callable[[], tuple[NodeRecord, ...]]
    wall_ms: Callable[[], int]
    environ: Mapping[str, str]
    log_lines: LogLines = list


def make_bundle(parts: BundleSources, purpose: str | None) -> Bundle:
    """Return a bundle as it would be written now."""
    made_at_ms = parts.wall_ms()
    nodes = parts.nodes()
    return {
        "bundle": {
            "format": BUNDLE_FORMAT,
            "purpose": purpose or PURPOSE_UNSTATED,
            "node": nodes[0].node,
            "made_at_ms": made_at_ms,
            "expires_at_ms": made_at_ms + BUNDLE_KEEP_S * 1000,
            "handling": "Users are keyed hashes, addresses are networks. Delete it when its purpose is "
            "served, at the latest when it expires. The gateway sends it nowhere.",
        },
        "environment": _environment(parts.environ),
        "versions": _versions(),
        "configuration": effective_toml(Configuration(parts.settings, {})).splitlines(),
        "nodes": [{**node._asdict(), "sealing_keys": node.sealing_keys.split()} for node in nodes],
        "metrics": parts.render().decode().splitlines(),
        "closes": [
            {name: line[name] for name in _CLOSE_COLUMNS} for line in parts.closes.last(BUNDLE_CLOSES)
        ],
        "sessions": parts.closes.last(BUNDLE_SESSIONS),
        "log": parts.log_lines(),
    }


def _environment(environ: Mapping[str, str]) -> Bundle:
    """Return where the node runs. Of variables their names only: some are secrets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "open_files_soft": soft,
        "open_files_hard": hard,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "variables": sorted(name for name in environ if name.upper().startswith(f"{PREFIX}_")),
    }


def _versions() -> dict[str, str | None]:
    return {
        "oscc-gateway": gateway.__version__,
        "protocol": API_VERSION,
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# ---- writing a bundle ----


PREVIEW_KEEP_S: Final = 600.0
"""For so long a preview may be written; after it, or after the next preview, it is forgotten."""
_DIGEST_CHARACTERS: Final = 12


class _Previewed(NamedTuple):
    digest: str
    data: bytes
    node: str
    until: float


class BundleWriter:
    """Shows bundles, and writes the last one shown.

    Invariant: what is written was shown before, to the letter; one preview is remembered at most.

    Args:
        parts: What bundles are made of.
        folder: Where they are written; None: nowhere.
        clock: Decides when a preview is forgotten.
    """

    def __init__(self, parts: BundleSources, folder: Path | None, clock: Clock) -> None:
        self._parts = parts
        self._folder = folder
        self._clock = clock
        self._last: _Previewed | None = None

    async def preview(self, purpose: str | None) -> BundleView:
        """See :meth:`gateway.edge.admin.SupportBundles.preview`."""
        bundle = make_bundle(self._parts, purpose)
        data = bundle_bytes(bundle)
        digest = hashlib.sha256(data).hexdigest()
        self._last = _Previewed(digest, data, bundle["bundle"]["node"], self._clock.now() + PREVIEW_KEEP_S)
        return BundleView(digest, len(data), bundle)

    async def write(self, digest: str) -> BundleView:
        """See :meth:`gateway.edge.admin.SupportBundles.write`."""
        last = self._last
        if last is None or last.digest != digest or self._clock.now() >= last.until:
            raise GatewayError(ErrorCode.NOT_FOUND, "This node has no such bundle. Ask for a preview first.")
        if self._folder is None:
            raise GatewayError(ErrorCode.FORBIDDEN, "No folder is configured: see admin.bundle_folder.")
        path = self._folder / f"oscc-gateway-{last.node}-{digest[:_DIGEST_CHARACTERS]}.json"
        try:
            await asyncio.to_thread(_write_new_file, path, last.data)
        except FileExistsError:
            raise GatewayError(ErrorCode.KEY_REUSED, "This bundle was already written.") from None
        except OSError as error:
            sentence = f"The bundle cannot be written: {os.strerror(error.errno or 0).lower()}."
            raise GatewayError(ErrorCode.FORBIDDEN, sentence) from None
        self._last = None
        return BundleView(digest, len(last.data), path=str(path))


def bundle_bytes(bundle: Bundle) -> bytes:
    """Return *bundle* as it stands in its file."""
    return json.dumps(bundle, indent=1, ensure_ascii=False).encode() + b"\n"


def folder_faults(folder: Path) -> Iterator[str]:
    """Yield what keeps bundles from being written to *folder*, or makes them visible to other users."""
    name = f"admin.bundle_folder {folder}"
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        if not _is_writable(folder.parent):
            yield f"{name} is not there, and this user cannot make it."
        return
    except OSError as error:
        yield f"{name} cannot be inspected: {os.strerror(error.errno or 0).lower()}."
        return
    if not stat.S_ISDIR(mode):
        yield f"{name} is not a folder."
        return
    if not _is_writable(folder):
        yield f"{name} cannot be written to by this user."
    if mode & stat.S_IRWXO:
        yield f"{name} is open to every user of this machine: restrict it, as by chmod o-rwx."


def _is_writable(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _write_new_file(path: Path, data: bytes) -> None:
    """Write a new file that its owner alone may read; make a missing folder for the owner alone."""
    with suppress(FileExistsError):
        path.parent.mkdir(mode=0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123 - of a descriptor, not of a path
        file.write(data)


# ---- operations ----


_DONE: Final = Page()
_LEVELS: Final[dict[str, Level]] = {level: level for level in get_args(Level)}
_LOG: Final = structlog.get_logger("gateway.app")


@dataclass(frozen=True, slots=True)
class AdminOperations:
    """What operators may do at one node.

    *read_anew* reloads the files, or raises :class:`ReloadFailed`. *render* returns the metrics as text,
    *log_lines* the last log lines.
    """

    settings: Settings
    node: Node
    closes: CloseHistory
    pseudonyms: Pseudonyms
    trail: AuditTrail
    stopping: StopRequest
    read_anew: Callable[[], Awaitable[None]]
    render: Callable[[], bytes]
    log_lines: LogLines = list

    def teach(self) -> None:
        """Have the node carry out what operators ask, here or by way of another node."""
        AdminUsers(self.node, self.pseudonyms.of).teach()
        holdings = NodeHoldings(self.node, self.pseudonyms.of, self.closes.of)
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
            _LOG.info("drain_requested", node=order.node)
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
            _LOG.info("log_level_changed", gone=before, new=level, node=order.node)
            set_level(level)
        return _DONE

    async def reload(self, order: Order) -> Page:  # noqa: ARG002 - an order's signature
        """Reload what may change; return the sealing keys in force, and what stays old."""
        kept: tuple[str, ...] = ()
        try:
            await self.read_anew()
        except ReloadFailed as old:
            kept = old.what
        keys = {"sealing_keys": self.node.record().sealing_keys.split()}
        return Page((keys, *({"kept": each} for each in kept)))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str | None]:
        """Serve operators while the block lasts, if they have a token; yields the address.

        Raises:
            CannotListen: The address is not to be had.
        """
        admin, node = self.settings.admin, self.node
        if admin.token is None:
            yield None
            return
        bundles = BundleSources(
            self.settings,
            self.closes,
            self.render,
            self._nodes,
            node.clock.wall_ms,
            os.environ,
            self.log_lines,
        )
        parts = AdminParts(
            admin.token.get_secret_value(),
            node,
            self.pseudonyms.of,
            self.trail.note,
            BundleWriter(bundles, admin.bundle_folder, node.clock),
            node.clock,
            partial(secrets.token_hex, 8),
        )
        async with admin_listening(admin, make_admin_app(parts)) as address:
            _LOG.info("listening", listener="admin", **_address_fields(admin.host, address))
            yield address

    def _nodes(self) -> tuple[NodeRecord, ...]:
        own = self.node.record()
        return (own, *(each for each in self.node.membership.nodes if each.holder != own.holder))


def _address_fields(host: str, address: str) -> dict[str, str | int | None]:
    """Return where a listener is, as log lines have it."""
    if address.startswith("unix:"):
        return {"socket": address.removeprefix("unix:")}
    return {"host": host, "port": urlsplit(address).port}
