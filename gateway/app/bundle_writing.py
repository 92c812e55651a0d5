"""How does a support bundle get from a preview to a file, unchanged?"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from gateway.app.bundle import Bundle, BundleParts, make_bundle
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.protocol.admin_bodies import BundleView
from gateway.runtime.ports import Clock

PREVIEW_S: Final = 600.0
"""For so long a preview may be written; after it, or after the next preview, it is forgotten."""
_DIGEST_CHARACTERS: Final = 12


class _Previewed(NamedTuple):
    digest: str
    data: bytes
    node: str
    until: float


class BundleWriting:
    """Shows bundles, and writes the last one shown.

    Invariant: what is written was shown before, to the letter; one preview is remembered at most.

    Args:
        parts: What bundles are made of.
        folder: Where they are written; None: nowhere.
        clock: Tells when a preview is forgotten.
    """

    def __init__(self, parts: BundleParts, folder: Path | None, clock: Clock) -> None:
        self._parts = parts
        self._folder = folder
        self._clock = clock
        self._last: _Previewed | None = None

    async def preview(self, purpose: str | None) -> BundleView:
        """See :meth:`gateway.edge.admin.Bundles.preview`."""
        bundle = make_bundle(self._parts, purpose)
        data = written(bundle)
        digest = hashlib.sha256(data).hexdigest()
        self._last = _Previewed(digest, data, bundle["bundle"]["node"], self._clock.now() + PREVIEW_S)
        return BundleView(digest, len(data), bundle)

    async def write(self, digest: str) -> BundleView:
        """See :meth:`gateway.edge.admin.Bundles.write`."""
        last = self._last
        if last is None or last.digest != digest or self._clock.now() >= last.until:
            raise GatewayError(ErrorCode.NOT_FOUND, "No such bundle was previewed here lately.")
        if self._folder is None:
            raise GatewayError(ErrorCode.FORBIDDEN, "No folder is configured: see admin.bundle_folder.")
        path = self._folder / f"oscc-gateway-{last.node}-{digest[:_DIGEST_CHARACTERS]}.json"
        try:
            await asyncio.to_thread(_put, path, last.data)
        except FileExistsError:
            raise GatewayError(ErrorCode.KEY_REUSED, "It was written before.") from None
        except OSError as error:
            sentence = f"The bundle cannot be written: {os.strerror(error.errno or 0).lower()}."
            raise GatewayError(ErrorCode.FORBIDDEN, sentence) from None
        self._last = None
        return BundleView(digest, len(last.data), path=str(path))


def written(bundle: Bundle) -> bytes:
    """Return *bundle* as it stands in its file."""
    return json.dumps(bundle, indent=1, ensure_ascii=False).encode() + b"\n"


def folder_faults(folder: Path) -> Iterator[str]:
    """Yield what keeps bundles from being written to *folder*, or lets everybody see which there are."""
    name = f"admin.bundle_folder {folder}"
    try:
        mode = folder.stat().st_mode
    except FileNotFoundError:
        if not _takes_files(folder.parent):
            yield f"{name} is not there, and this user cannot make it."
        return
    except OSError as error:
        yield f"{name} cannot be looked at: {os.strerror(error.errno or 0).lower()}."
        return
    if not stat.S_ISDIR(mode):
        yield f"{name} is no folder."
        return
    if not _takes_files(folder):
        yield f"{name} cannot be written to by this user."
    if mode & stat.S_IRWXO:
        yield f"{name} is open to every user of the machine: take their rights away, as by chmod o-rwx."


def _takes_files(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _put(path: Path, data: bytes) -> None:
    """Write a new file that its owner alone may read, in a folder that is made for him if it is not there."""
    with suppress(FileExistsError):
        path.parent.mkdir(mode=0o700)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with open(os.open(path, flags, 0o600), "wb") as file:  # noqa: PTH123 - of a descriptor, not of a path
        file.write(data)
