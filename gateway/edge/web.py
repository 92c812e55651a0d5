"""Which files make the web client, and how are they served?

All of them are read once, when the gateway starts; a request costs a look into a dictionary. A browser asks
each time whether its copy is still the newest (`no-cache`), and an unchanged file is 304. The service worker
carries a digest of all files, so that one changed file makes a new worker, which takes all files anew: a page
never mixes modules of two versions.
"""

from __future__ import annotations

import hashlib
import json
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
"""What is served; whatever else lies in the folder is not."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types oscc"
)
"""Nothing of anybody else, nothing inline, and no text that becomes markup."""

_OFF: Final = (
    "accelerometer", "autoplay", "camera", "display-capture", "geolocation", "gyroscope", "hid",
    "magnetometer", "microphone", "midi", "payment", "serial", "usb",
)  # fmt: skip

_HEADERS: Final = {
    hdrs.CACHE_CONTROL: "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{name}=()" for name in _OFF),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file as it is sent."""

    body: bytes
    content_type: str
    etag: str


class WebClient:
    """Serves the web client under ``/app/``.

    Args:
        texts: File name → bytes; without it what the package carries.
    """

    def __init__(self, texts: Mapping[str, bytes] | None = None) -> None:
        self.files: Final = _prepared(_carried() if texts is None else texts)
        """What is served, by name."""

    def routes(self) -> list[web.RouteDef]:
        """Return them."""
        return [
            web.get("/", self.door),
            web.get(ROOT.rstrip("/"), self.door),
            web.get(ROOT, self.file),
            web.get(ROOT + "{name}", self.file),
        ]

    async def door(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp's signature
        """Send whoever comes to the house to the web client."""
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
        known = request.if_none_match or ()
        fresh = any(tag.value in {found.etag, "*"} for tag in known)
        response = web.Response(status=304, headers=headers) if fresh else _whole(found, headers)
        response.etag = ETag(found.etag)
        return response


def _whole(found: StaticFile, headers: dict[str, str]) -> web.Response:
    return web.Response(body=found.body, headers=headers | {hdrs.CONTENT_TYPE: found.content_type})


def _carried() -> dict[str, bytes]:
    folder = resources.files("gateway") / "web"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}


def _prepared(texts: Mapping[str, bytes]) -> dict[str, StaticFile]:
    """Return *texts* as they are sent, those of a known type; the worker knows all and their digest."""
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
    return StaticFile(body, content_type, hashlib.sha256(body).hexdigest()[:16])


def _type(name: str) -> str | None:
    return _TYPES.get(f".{name.rpartition('.')[2]}")
