"""Admin operations of a node: recent closes, support bundles, drain, log level, reload; their listener."""

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
from aiohttp import web

import gateway
from gateway.app.config.errors import PREFIX
from gateway.app.config.settings import AdminSection, Settings, socket_path
from gateway.app.config.sources import Configuration, effective_toml
from gateway.app.logging import AuditTrail, Level, LogLines, Pseudonyms, Shape, field_shapes, set_level
from gateway.app.process import DEFAULT_CONNECTIONS, CannotListen, StopRequest, listening, os_error_text
from gateway.app.reload import ReloadFailed
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import NodeId
from gateway.edge.admin import AdminParts, make_admin_app
from gateway.edge.channel import ConnectionSummary
from gateway.edge.export import AdminUsers, NodeHoldings
from gateway.edge.limits import PendingConnections
from gateway.edge.server import ListenerRunner
from gateway.protocol.bodies import BundleView
from gateway.protocol.envelopes import NodeRecord, Order, Record
from gateway.protocol.schemas import API_VERSION
from gateway.runtime.cluster_receiver import Page
from gateway.runtime.node import Node
from gateway.runtime.ports import Clock

CLOSES_MAX: Final = 10_000
"""Number of stored closes; beyond it the oldest is removed."""
CLOSES_MS: Final = 86_400_000
"""Age after which a close is removed, when a connection ends or the list is requested."""
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
"""Fields of the log line of a session, in this order."""

_VALUES: Final = attrgetter(*CLOSE_FIELDS)
_Close = tuple[int, int, tuple[object, ...]]
"""Time, number, and the values of :data:`CLOSE_FIELDS`."""


class CloseHistory:
    """The connections of this node that ended last.

    Invariant: a value is stored in the form in which it may be logged, or not at all.

    Args:
        node: This node.
        pseudonyms: Returns the hashes of users.
        wall_ms: Returns the time.
        kept: How many are stored.
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
        """Store the summary of a connection."""
        self._number += 1
        values = tuple(shape(value) for shape, value in zip(self._shapes, _VALUES(life), strict=True))
        self._young().append((self._wall_ms(), self._number, values))

    async def closes(self, order: Order) -> Page:
        """Return a page, the newest first, of the closes before ``order.after``."""
        chosen = nlargest(order.most + 1, self._before(order.after), key=lambda kept: kept[:2])
        records = tuple(self._record(kept) for kept in chosen[: order.most])
        return Page(records, more=len(chosen) > order.most)

    def last(self, most: int) -> list[Record]:
        """Return the last *most*, the newest first."""
        return [self._record(kept) for _, kept in zip(range(most), reversed(self._young()), strict=False)]

    def of(self, user: str) -> list[Record]:
        """Return the closes of a user, by keyed hash."""
        at = CLOSE_FIELDS.index("user")
        return [self._record(kept) for kept in self._young() if kept[2][at] == user]

    def _young(self) -> deque[_Close]:
        """Remove old entries, and return the others."""
        begins_ms = self._wall_ms() - CLOSES_MS
        while self._ring and self._ring[0][0] < begins_ms:
            self._ring.popleft()
        return self._ring

    def _before(self, last: str) -> Iterator[_Close]:
        return (kept for kept in self._young() if not last or self._id(kept) < last)

    def _id(self, kept: _Close) -> str:
        """Return the id of an entry: in the whole gateway a later one has a greater id."""
        return f"{kept[0]:015d}.{kept[1]:010d}.{self._node}"

    def _record(self, kept: _Close) -> Record:
        values = dict(zip(CLOSE_FIELDS, kept[2], strict=True))
        values["close_reason"] = values["close_reason"] or ""
        return {"id": self._id(kept), "node": self._node, "at_ms": kept[0], **values}


# ---- support bundle ----


BUNDLE_FORMAT: Final = 1
BUNDLE_KEEP_S: Final = 30 * 86_400
"""Age after which a bundle is to be deleted, as its text says."""
BUNDLE_CLOSES: Final = 1_000
BUNDLE_SESSIONS: Final = 200
"""Last closed connections: how many are counted by reason, and how many are listed."""
PURPOSE_UNSTATED: Final = "support; no other purpose was given"
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
    """Sources of a bundle. *render* writes the metrics, *nodes* returns the live nodes, this one first.

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
    """Return a bundle with the present data."""
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
    """Return where the node runs. Only the names of variables: some values are secrets."""
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
"""How long a preview may be written; after that, or after the next preview, it is removed."""
_DIGEST_CHARACTERS: Final = 12


class _Previewed(NamedTuple):
    digest: str
    data: bytes
    node: str
    until: float


class BundleWriter:
    """Shows bundles, and writes the last one shown.

    Invariant: a written bundle is byte for byte the one that was shown; at most one preview is stored.

    Args:
        parts: Sources of bundles.
        folder: Where they are written; None: nowhere.
        clock: Decides when a preview expires.
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
    """Return *bundle* as the content of its file."""
    return json.dumps(bundle, indent=1, ensure_ascii=False).encode() + b"\n"


def folder_faults(folder: Path) -> Iterator[str]:
    """Yield what prevents bundles from being written to *folder*, or lets other users read them."""
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
    """Write a new file that only its owner may read; make a missing folder for the owner alone."""
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
    """Operations for operators at one node.

    *reload_all* reloads the files, or raises :class:`ReloadFailed`. *render* returns the metrics as text,
    *log_lines* the last log lines.
    """

    settings: Settings
    node: Node
    closes: CloseHistory
    pseudonyms: Pseudonyms
    trail: AuditTrail
    stopping: StopRequest
    reload_all: Callable[[], Awaitable[None]]
    render: Callable[[], bytes]
    log_lines: LogLines = list

    def register_orders(self) -> None:
        """Register the operations with the node, for requests here or at another node."""
        AdminUsers(self.node, self.pseudonyms.of).register_orders()
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
        """Drain, as on SIGTERM; a repeated request does not hurry it."""
        if not self.stopping.asked.is_set():
            _LOG.info("drain_requested", node=order.node)
        self.stopping.ask_gently()
        return _DONE

    async def log_level(self, order: Order) -> Page:
        """Change the lowest level that is logged.

        Raises:
            GatewayError: ``bad_request``: there is no such level.
        """
        level = _LEVELS.get(order.subject)
        if level is None:
            raise GatewayError(ErrorCode.BAD_REQUEST, "There is no such level.")
        before = logging.getLevelName(logging.getLogger().level).lower()
        if level != before:
            set_level("info")  # the line that explains why others are missing is never missing itself
            _LOG.info("log_level_changed", gone=before, new=level, node=order.node)
            set_level(level)
        return _DONE

    async def reload(self, order: Order) -> Page:  # noqa: ARG002 - an order's signature
        """Reload what may change.

        Return the sealing keys in force, and the names of parts that could not be reloaded.
        """
        kept: tuple[str, ...] = ()
        try:
            await self.reload_all()
        except ReloadFailed as old:
            kept = old.what
        keys = {"sealing_keys": self.node.record().sealing_keys.split()}
        return Page((keys, *({"kept": each} for each in kept)))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str | None]:
        """Serve operators while the block lasts, if there is a token; yield the address.

        Raises:
            CannotListen: The address cannot be used.
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
    """Return the address of a listener in the form of log lines."""
    if address.startswith("unix:"):
        return {"socket": address.removeprefix("unix:")}
    return {"host": host, "port": urlsplit(address).port}


# ---- admin listener ----


_OWNER_ONLY = 0o177


@asynccontextmanager
async def admin_listening(admin: AdminSection, app: web.Application) -> AsyncIterator[str]:
    """Serve *app* at the address of *admin* while the block lasts; yield the address.

    Raises:
        CannotListen: The address cannot be used.
    """
    path = socket_path(admin.host)
    if path is None:
        async with listening("admin", app, admin.host, admin.port) as listener:
            yield listener.url
        return
    runner = ListenerRunner(app, PendingConnections(DEFAULT_CONNECTIONS, DEFAULT_CONNECTIONS))
    await runner.setup()
    try:
        own = await _open_socket(runner, path)
        try:
            yield f"unix:{path}"
        finally:
            _remove_socket(path, own)
    finally:
        await runner.cleanup()


def _remove_socket(path: Path, inode: int | None = None) -> None:
    """Remove a socket that an earlier process left, or the one with *inode*; other files stay."""
    with suppress(FileNotFoundError):
        there = path.lstat()
        if stat.S_ISSOCK(there.st_mode) and inode in {None, there.st_ino}:
            path.unlink()


async def _open_socket(runner: web.AppRunner, path: Path) -> int:
    """Listen at a socket that only the process's user may open, from its first moment; return its inode.

    Raises:
        CannotListen: It cannot be used.
    """
    before = os.umask(_OWNER_ONLY)
    try:
        _remove_socket(path)
        await web.UnixSite(runner, path).start()
        return _inode(path)
    except OSError as error:
        raise CannotListen(f"The admin listener cannot listen at {path}: {os_error_text(error)}.") from None
    finally:
        os.umask(before)


def _inode(path: Path) -> int:
    return path.lstat().st_ino
