"""Web client: static files under `/app/`, with caching headers.

All files are read and compressed once, at start. A browser revalidates its copy on each request (`no-
cache`); an unchanged file is answered with 304. The service worker contains a digest of all files, so a
changed file makes a new worker, which fetches all files again: a page never mixes modules of two versions.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from aiohttp import ETag, hdrs, web

ROOT: Final = "/app/"
WORKER: Final = "sw.js"
_INDEX: Final = "index.html"

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml; charset=utf-8",
    ".webmanifest": "application/manifest+json; charset=utf-8",
}
"""Types of files that are served. Other files in the folder are not."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types oscc"
)
"""Nothing from other origins, nothing inline, and no text that becomes markup."""

_OFF: Final = (
    "accelerometer", "autoplay", "camera", "display-capture", "geolocation", "gyroscope", "hid",
    "magnetometer", "microphone", "midi", "payment", "serial", "usb",
)  # fmt: skip

_ZERO: Final = re.compile(r"q\s*=\s*0(\.0*)?")

_HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{name}=()" for name in _OFF),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """File as it is sent."""

    body: bytes
    content_type: str
    etag: str
    packed: bytes | None
    """The body as gzip, where that is smaller."""


class WebClient:
    """Routes of the web client under ``/app/``.

    Args:
        texts: File name → bytes; by default the files of the package.
    """

    def __init__(self, texts: Mapping[str, bytes] | None = None) -> None:
        self.files: Final = _prepared(_carried() if texts is None else texts)
        """Served files, by name."""

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/", self.redirect),
            web.get(ROOT.rstrip("/"), self.redirect),
            web.get(ROOT, self.file),
            web.get(ROOT + "{name}", self.file),
        ]

    async def redirect(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """Redirect ``GET /`` to the web client."""
        return web.Response(status=302, headers={hdrs.LOCATION: ROOT})

    async def file(self, request: web.Request) -> web.Response:
        """``GET /app/<name>``."""
        name = request.match_info.get("name", _INDEX)
        found = self.files.get(name)
        if found is None:
            raise web.HTTPNotFound
        headers = dict(_HEADERS)
        if name == WORKER:
            headers["Service-Worker-Allowed"] = ROOT
        packed = found.packed if _takes_gzip(request) else None
        etag = found.etag if packed is None else f"{found.etag}-gzip"
        known = request.if_none_match or ()
        fresh = any(tag.value in {etag, "*"} for tag in known)
        response = web.Response(status=304, headers=headers) if fresh else _whole(found, packed, headers)
        response.etag = ETag(etag)
        return response


def _takes_gzip(request: web.Request) -> bool:
    """Return whether ``Accept-Encoding`` names gzip with a weight above 0."""
    for offer in ",".join(request.headers.getall(hdrs.ACCEPT_ENCODING, [])).lower().split(","):
        coding, _, weight = (part.strip() for part in offer.partition(";"))
        if coding == "gzip":
            return not _ZERO.fullmatch(weight)
    return False


def _whole(found: StaticFile, packed: bytes | None, headers: dict[str, str]) -> web.Response:
    headers[hdrs.CONTENT_TYPE] = found.content_type
    if packed is None:
        return web.Response(body=found.body, headers=headers)
    return web.Response(body=packed, headers=headers | {hdrs.CONTENT_ENCODING: "gzip"})


def _carried() -> dict[str, bytes]:
    folder = resources.files("gateway") / "web"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def _prepared(texts: Mapping[str, bytes]) -> dict[str, StaticFile]:
    """Return the *texts* of known types as they are sent; the worker contains their digest."""
    served = {name: body for name, body in sorted(texts.items()) if _type(name) is not None}
    whole = hashlib.sha256()
    for name, body in served.items():
        whole.update(b"%s %d " % (name.encode(), len(body)) + body)
    if WORKER in served:
        names = ["./", *(name for name in served if name not in {WORKER, _INDEX})]
        head = f"const VERSION = '{whole.hexdigest()[:16]}';\nconst FILES = {json.dumps(names)};\n"
        served[WORKER] = head.encode() + served[WORKER]
    return {name: _static(body, _type(name) or "") for name, body in served.items()}


def _static(body: bytes, content_type: str) -> StaticFile:
    packed = gzip.compress(body, compresslevel=9, mtime=0)
    smaller = packed if len(packed) < len(body) else None
    return StaticFile(body, content_type, hashlib.sha256(body).hexdigest()[:16], smaller)


def _type(name: str) -> str | None:
    return _TYPES.get(f".{name.rpartition('.')[2]}")
