"""Answers of the benchmark's OSCC-E Server to requests on a link."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bench import centre_frames as say
from bench.centre_links import Link, Links, now_ms

Request = Mapping[str, Any]
Publics = Callable[[str], str | None]
"""Maps a SessionID to its public id; None when there is no such session."""


class Asked(NamedTuple):
    """Request, with its link and what is needed to answer it."""

    number: int
    request: Request
    link: Link
    links: Links
    publics: Publics


def answer(request: Request, link: Link, links: Links, publics: Publics) -> bytes:
    """Return the frames that answer *request*; events that it causes are sent before."""
    number = int(request.get("RequestID", 0))
    serve = _METHODS.get(str(request.get("Method")))
    if serve is None:
        return say.refusal(number, 2, "MethodUnknown")
    return serve(Asked(number, request, link, links, publics))


def _attach(asked: Asked) -> bytes:
    public = asked.publics(str(asked.request.get("SessionID")))
    if public is None:
        return say.refusal(asked.number, 3, "SessionUnknown")
    attached = say.session(asked.link.alias(), public, asked.links.layout.visible_keys(asked.link.user))
    return say.response(asked.number, **attached)


def _done(asked: Asked) -> bytes:
    return say.response(asked.number)


def _listen(asked: Asked) -> bytes:
    event_type, keys = str(asked.request.get("EventType")), asked.request.get("Keys")
    if event_type not in say.QUERIES:
        return say.refusal(asked.number, 1, "BadRequest")
    query = asked.link.listen(event_type, frozenset(keys) if isinstance(keys, list) else None)
    response = say.response(asked.number, QueryID=query.number)
    return response if event_type == "Administration" else response + asked.links.whole(asked.link, query)


def _stop(asked: Asked) -> bytes:
    asked.link.stop(int(asked.request.get("QueryID", 0)))
    return say.response(asked.number)


def _query(asked: Asked) -> bytes:
    kinds = [str(kind) for kind in asked.request.get("Kinds", ())]
    return say.response(asked.number, Objects=say.directory(asked.links.layout, asked.link.user, kinds))


def _alive(asked: Asked) -> bytes:
    return say.response(asked.number, Time=now_ms())


def _set_state(asked: Asked) -> bytes:
    key = int(asked.request.get("UserKey", 0))
    if key not in asked.links.layout.visible_keys(asked.link.user).agents:
        return say.refusal(asked.number, 5, "NotFound")
    # the event with the effect precedes the response, on all links
    element = say.agent(key, "commanded", str(asked.request.get("RoutingState")))
    asked.links.change(key, "UserRealtime", element)
    return say.response(asked.number, State="Applied")


_METHODS: dict[str, Callable[[Asked], bytes]] = {
    "AttachSession": _attach,
    "DetachSession": _done,
    "Presence": _done,
    "ListenForEvents": _listen,
    "StopListeningForEvents": _stop,
    "QueryDirectory": _query,
    "KeepAlive": _alive,
    "SetRoutingState": _set_state,
}
