"""How does a command of this machine ask a node's admin listener?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from gateway.app.config_sections import Admin
from gateway.app.config_types import socket_path

PATIENCE_S: Final = 30.0
Answer = dict[str, Any]


class NotDone(Exception):  # noqa: N818 - names what happened
    """The listener did not do what was asked. The message is a sentence."""


async def ask(
    admin: Admin,
    method: str,
    path: str,
    *,
    body: Mapping[str, object] | None = None,
    query: Mapping[str, str] | None = None,
) -> Answer:
    """Ask the listener, and return what it answers.

    Args:
        admin: Where it is, and the token.
        method: Of the request.
        path: Likewise; parts that are data are written by :func:`part`.
        body: What is sent as JSON, if anything.
        query: What stands behind the path.

    Raises:
        NotDone: There is no token, nobody answers, or it refused.
    """
    if admin.token is None:
        raise NotDone("admin.token is not set, so the admin listener stays closed.")
    headers = {"Authorization": f"Bearer {admin.token.get_secret_value()}"}
    socket = socket_path(admin.host)
    host = f"[{admin.host}]" if ":" in admin.host else admin.host
    base = "http://localhost" if socket is not None else f"http://{host}:{admin.port}"
    url = URL(base + path, encoded=True).with_query(query or {})
    connector = None if socket is None else aiohttp.UnixConnector(str(socket))
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as http,
            http.request(
                method, url, json=None if body is None else dict(body), headers=headers, allow_redirects=False
            ) as answer,
        ):
            told: Answer = await answer.json(content_type=None)
            status = answer.status
    except (aiohttp.ClientError, OSError, ValueError):  # a timeout is an OSError, no JSON a ValueError
        where = admin.host if socket is not None else f"{admin.host} port {admin.port}"
        raise NotDone(f"No admin listener answers at {where}: does the node run?") from None
    if status >= 400:
        raise NotDone(_refusal(told))
    return told


def part(text: str) -> str:
    """Return *text* as one part of a path."""
    return quote(text, safe="")


def _refusal(problem: Answer) -> str:
    unreached = [f"{each.get('node')} ({each.get('reason')})" for each in problem.get("unreached", [])]
    where = f" Not reached: {', '.join(unreached)}." if unreached else ""
    wait_s = problem.get("retry_after_s")
    again = f" Try again in {wait_s:g} s." if isinstance(wait_s, int | float) and not unreached else ""
    return f"{problem.get('detail', 'It was refused.')} [{problem.get('code', 'unknown')}]{where}{again}"
