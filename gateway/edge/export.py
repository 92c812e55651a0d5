"""What does the gateway hold about somebody who asks?

One entry for each category of the data inventory, also where nothing is held: so whoever reads it
can see that nothing was left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from gateway.domain.model import ME, Ticket
from gateway.domain.resources import RESOURCES, Me, Resource
from gateway.edge.login import user_view
from gateway.protocol import json_form, wire_form
from gateway.protocol.inventory import InventoryEntry, inventory

Record = dict[str, Any]
"""Plain members, as JSON shows them."""

NOT_SHOWN: Final = "held, never shown"
_INVENTORY: Final = inventory().entries


def export(
    ticket: Ticket,
    mirror: Mapping[str, Resource],
    *,
    address: str,
    at_ms: int,
    elsewhere: Mapping[str, Sequence[Record]] | None = None,
    complete: bool = True,
) -> Iterator[bytes]:
    """Give the body of everything that is held for the session of *ticket*, and for its user elsewhere.

    It comes in pieces of one record each, as :class:`~gateway.protocol.bodies.ExportBody` is written: so the
    work can be spread over many turns of the loop.

    Args:
        ticket: Who asks.
        mirror: What the node holds of the session's view, by key.
        address: From where the request came.
        at_ms: Now.
        elsewhere: What all nodes hold about its user, by category.
        complete: All of them were asked, and answered.
    """
    more = elsewhere or {}
    beside = beside_the_mirror(ticket, mirror, address)
    head = {"user": wire_form.fields(user_view(ticket)), "at_ms": at_ms}
    yield json_form.write(head)[:-1] + b',"entries":['
    for number, entry in enumerate(_INVENTORY):
        name = json_form.write(entry.category)
        yield (b"," if number else b"") + b'{"category":' + name + b',"held":['
        own = beside.get(entry.category) or _mirrored(entry, mirror)
        for place, record in enumerate(chain(own, more.get(entry.category, ()))):
            yield (b"," if place else b"") + json_form.write(wire_form.plain(record))
        yield b"]}"
    yield b'],"complete":' + json_form.write(complete) + b"}"


def _mirrored(entry: InventoryEntry, mirror: Mapping[str, Resource]) -> Iterator[Record]:
    """Give the fields that *entry* names of every resource of its kind."""
    kind = entry.category.rpartition(".")[0]
    if kind not in RESOURCES:
        return
    paths = [path.split(".") for path in entry.fields]
    for key, value in mirror.items():
        if key == kind or key.partition(":")[0] == kind:
            fields = pick(wire_form.fields(value), paths)
            if fields:
                yield {"key": key, **fields}


def pick(value: Mapping[str, object], paths: Iterable[list[str]]) -> Record:
    """Return of *value* what *paths* lead to; a step that ends in ``[]`` leads into every element."""
    below: dict[str, list[list[str]]] = {}
    for path in paths:
        below.setdefault(path[0], []).append(path[1:])
    picked: Record = {}
    for step, rests in below.items():
        name, deeper = step.removesuffix("[]"), [rest for rest in rests if rest]
        inner = value.get(name)
        if inner is None:
            continue
        if not deeper:
            picked[name] = inner
        elif isinstance(inner, list):
            picked[name] = [pick(each, deeper) for each in inner]
        elif isinstance(inner, dict):
            picked[name] = pick(inner, deeper)
    return picked


def beside_the_mirror(
    ticket: Ticket, mirror: Mapping[str, Resource], address: str
) -> dict[str, list[Record]]:
    """Return what is held for a session beside the mirror, by category."""
    device = {"device.id": ticket.device.id, "device.name": ticket.device.name}
    token = {
        "site": ticket.user.site,
        "user_id": str(ticket.user.key),
        "display_name": ticket.display_name,
        "application": ticket.application.value,
        "session_secret": NOT_SHOWN,
        "session_id": ticket.session,
        **device,
        "server_instance": ticket.server,
        "accepted_notices": [{"id": name, "version": version} for name, version in ticket.notices],
        "issued_at_ms": ticket.issued_at_ms,
        "expires_at_ms": ticket.expires_at_ms,
    }
    held: dict[str, list[Record]] = {
        "token": [token],
        "device": [device],
        "connection": [{"network_address": address}],
    }
    me = mirror.get(ME)
    if isinstance(me, Me) and me.remote_number is not None:
        held["remote_number"] = [{"remote_number": me.remote_number}]
    return held
