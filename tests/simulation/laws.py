"""Laws that hold at every step, and laws that hold when all faults are over."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Sequence
from typing import Final

from gateway.core.lease import BusState
from gateway.domain.model import SessionSecret, UserId
from gateway.runtime.handover import INTEREST_S
from gateway.runtime.user_state import Owner
from tests.simulation.cluster import DEADLINE_MS, QUEUE, Order, Phone, SimulatedCluster
from tests.simulation.nodes import Process
from tests.simulation.sorts import GENTLE, REFUSING, UNMOVED

TRIES: Final = 4
"""Wrong passwords of one name that all nodes together may send to OSCC-E."""
LATE_S: Final = 1.0
"""How late after its deadline a command may run: clocks of nodes that differ by less count as equal."""
FRESH_S: Final = 20.0
"""Highest age of data that is shown as live."""
UNLINKED_S: Final = 1.0
"""How long a user may have no link without a fault."""
LET_IN_S: Final = 20.0
"""How long a phone may wait to be served while Redis refuses writes."""
ORPHANED_S: Final = 45.0
"""How long a session of a dead node may be neither served nor over, without other events."""
GONE_S: Final = 100.0
"""Time after which no data of a logged-off user remains."""
OF_A_USER: Final = frozenset(
    {
        "Feed",
        "Follower",
        "LinkMachine",
        "Ledger",
        "Lease",
        "Member",
        "Mirror",
        "Outbox",
        "Owner",
        "Session",
        "ChangePublisher",
        "Ticket",
        "UserSessions",
        "UserState",
    }
)
"""Classes of the gateway whose objects exist for one user."""
BATCHES_MAX: Final = 6
"""Requests of one node without an answer, while nothing is lost."""
SILENT_S: Final = 34.0
"""Highest age when a link loses everything: silence is noticed after one and a half keep-alives of 20 s."""


def at_every_step(cluster: SimulatedCluster) -> None:
    """Check the laws of every step."""
    centre = cluster.centre
    for user in centre.people:
        if (links := centre.open_links(user)) > 1:
            cluster.broken("one link a user", f"{user.key}: {links}")
    for key, times in centre.sent.items():
        if times > 1:
            cluster.broken("commands are sent once", f"{key}: {times}")
    if max(centre.wrong.values(), default=0) > TRIES:
        cluster.broken("no name is locked by guesses at several nodes", str(centre.wrong))
    _orphaned(cluster)
    for phone in cluster.phones:
        _fresh(cluster, phone)
        _linked(cluster, phone)
        _let_in(cluster, phone)
        for order in phone.orders.values():
            _executed(cluster, phone, order)


def _orphaned(cluster: SimulatedCluster) -> None:
    """Check that another node serves the sessions of a dead one, or that they end or are absent at OSCC-E."""
    for handle, (phone, ticket, died_at) in list(cluster.orphans.items()):
        is_absent = not phone.wants and not _is_present(cluster, ticket.user, ticket.secret)
        if phone.ticket is not ticket or phone.is_served or is_absent:
            del cluster.orphans[handle]
        elif cluster.now() - max(died_at, cluster.changed_at) > ORPHANED_S:
            cluster.broken("sessions of a dead node are served or end", f"{phone.name} {handle}")


def _is_present(cluster: SimulatedCluster, user: UserId, secret: SessionSecret) -> bool:
    """Return whether a session is present at OSCC-E on the link of a live node.

    OSCC-E keeps the link of a host that vanished until its keep-alives are missing.
    """
    session, user_link = cluster.centre.live.get(secret), cluster.centre.user_links.get(user)
    alive = {process.holder for process in cluster.processes if process.is_alive}
    return (
        session is not None and session.present and user_link is not None and user_link.link.holder in alive
    )


def _executed(cluster: SimulatedCluster, phone: Phone, order: Order) -> None:
    at = cluster.centre.executed_at.get(order.key)
    if at is None:
        return
    late_s = at - order.given_at - DEADLINE_MS / 1000
    if late_s > LATE_S:
        cluster.broken("commands run before their deadline", f"{phone.name} {order.key}: {late_s:.1f} s late")
    if any(status == "rejected" for status, _ in order.outcomes):
        cluster.broken("what is rejected was not executed", f"{phone.name} {order.key}: later")


def in_the_end(cluster: SimulatedCluster) -> None:
    """Check the laws of the end, when there was no fault for a while."""
    for phone in cluster.phones:
        _in_order(cluster, phone)
    if cluster.event_names <= UNMOVED:
        _unmoved(cluster)
    alive = {process.holder for process in cluster.processes if process.is_alive}
    for handle, ended in cluster.logged_off.items():
        if ended.secret in cluster.centre.live and ended.holder in alive:
            cluster.broken("who logged off has no session", handle)
    if cluster.setup.patient:
        _absent(cluster)
        for process in cluster.processes:
            _bounded(cluster, process)


def _in_order(cluster: SimulatedCluster, phone: Phone) -> None:
    """Check that the commands of one connection were executed in the order in which they were sent."""
    once = {key: order for key, order in phone.orders.items() if len(order.frames) == 1}
    for connection in {order.connection for order in once.values()}:
        sent = [key for key, order in once.items() if order.connection == connection]
        executed = [key for key in cluster.centre.executed_at if key in sent]
        if executed != [key for key in sent if key in executed]:
            cluster.broken("commands of a phone are not overtaken", f"{phone.name}: {executed}")


def _unmoved(cluster: SimulatedCluster) -> None:
    for phone in cluster.phones:
        if phone.connections > 1:
            cluster.broken("trouble of Redis costs no connection", f"{phone.name}: {phone.connections}")
    for user, opens in cluster.centre.opens.items():
        if opens > 1:
            cluster.broken("trouble of Redis costs no link", f"{user.key}: {opens}")


def _absent(cluster: SimulatedCluster) -> None:
    here = {phone.ticket.secret for phone in cluster.phones if phone.is_served and phone.ticket is not None}
    for session in cluster.centre.live.values():
        if session.secret not in here and _is_present(cluster, session.person.id, session.secret):
            cluster.broken("who left is absent at OSCC-E", str(session.id))


def _bounded(cluster: SimulatedCluster, process: Process) -> None:
    following = {
        user: {
            each.name
            for each in cluster.processes
            if (home := each.node.user_states.get(user)) is not None and home.follower is not None
        }
        for user in process.node.user_states
    }
    for user, home in process.node.user_states.items():
        if home.owner is None and not home.feed.connections:
            cluster.broken("nobody is followed for nothing", f"{user.key} at {process.holder}")
        asked_at = {} if home.owner is None else home.owner.publisher._asked_at
        # a phone that vanished near the end may have sent requests lately
        late = process.node.clock.now() - INTEREST_S - 2 * LATE_S
        if any(at < late for node, at in asked_at.items() if node not in following[user]):
            cluster.broken("interest ends", f"{user.key} at {process.holder}")


def _fresh(cluster: SimulatedCluster, phone: Phone) -> None:
    if not phone.is_served or phone.upstream != "live" or QUEUE not in phone.shown:
        return
    value = phone.shown[QUEUE].get("contacts_waiting")
    until = cluster.centre.waited_until.get(value) if isinstance(value, int) else None
    if until is None:
        return
    now = cluster.now()
    allowed = SILENT_S if now - cluster.swallowed_at < SILENT_S else FRESH_S
    if now - cluster.lossy_at >= FRESH_S and now - until > allowed:
        cluster.broken("what is shown as live is fresh", f"{phone.name}: {now - until:.1f} s old")


def _let_in(cluster: SimulatedCluster, phone: Phone) -> None:
    """Check that with link fencing a Redis that refuses writes keeps no phone out for long."""
    if not phone.wants or phone.is_served or not cluster.setup.fences or not cluster.event_names <= REFUSING:
        phone.unserved_since = None
    elif phone.unserved_since is None:
        phone.unserved_since = cluster.now()
    elif cluster.now() - phone.unserved_since > LET_IN_S:
        cluster.broken("a Redis without writes keeps nobody out", phone.name)


def _linked(cluster: SimulatedCluster, phone: Phone) -> None:
    """Check that without a fault a served user has a link, or has one again at once."""
    if not phone.is_served or phone.ticket is None or not cluster.event_names <= GENTLE:
        return
    if cluster.centre.open_links(phone.ticket.user):
        phone.unlinked_since = None
    elif phone.unlinked_since is None:
        phone.unlinked_since = cluster.now()
    elif cluster.now() - phone.unlinked_since > UNLINKED_S:
        cluster.broken("without a fault there is a link", phone.name)


def when_quiet(cluster: SimulatedCluster) -> list[str]:
    """Return the differences from the final state."""
    missing: list[str] = []
    for phone in cluster.phones:
        if phone.wants:
            missing += _served(cluster, phone)
    alive = [process for process in cluster.processes if process.is_alive]
    for user in {phone.ticket.user: None for phone in cluster.phones if phone.ticket and phone.wants}:
        missing += _owned(cluster, user, alive)
    for process in alive:
        missing += _tidy(process)
    return missing


def _served(cluster: SimulatedCluster, phone: Phone) -> list[str]:
    if phone.line is None or not phone.is_served:
        return [f"{phone.name} is not served"]
    missing = []
    if (phone.upstream, phone.bus) != ("live", "live"):
        missing.append(f"{phone.name} is shown {phone.upstream}, bus {phone.bus}")
    agent = phone.shown.get("agent:7", {}).get("routing_state", "logged_off")
    if agent != cluster.centre.agent_state():
        missing.append(f"{phone.name} shows the agent {agent}, not {cluster.centre.agent_state()}")
    session = None if phone.ticket is None else cluster.centre.live.get(phone.ticket.secret)
    if session is None:
        return [*missing, f"{phone.name} is served though his session has ended"]
    waiting = phone.shown.get(QUEUE, {}).get("contacts_waiting")
    if session.person.own_agent is None and waiting != cluster.centre.waiting:
        missing.append(f"{phone.name} shows {waiting} waiting, not {cluster.centre.waiting}")
    if not session.present:
        missing.append(f"{phone.name} is not present at OSCC-E")
    return missing


def _owned(cluster: SimulatedCluster, user: UserId, alive: list[Process]) -> list[str]:
    owners: list[tuple[Process, Owner]] = []
    for process in alive:
        home = process.node.user_states.get(user)
        if home is not None and home.owner is not None:
            owners.append((process, home.owner))
    if len(owners) != 1:
        return [f"{user.key} has owners {[process.holder for process, _ in owners]}"]
    process, owner = owners[0]
    user_link = cluster.centre.user_links.get(user)
    if user_link is None or owner.link is None or user_link.link.holder != process.holder:
        return [f"{user.key} has no link of {process.holder}"]
    grant = cluster.server.read(user)
    if grant is None or (grant.holder, grant.token) != (process.holder, owner.token):
        return [f"the lease of {user.key} is {grant}, not {process.holder}'s {owner.token}"]
    return []


def _tidy(process: Process) -> list[str]:
    exchange = process.node.exchange
    missing = []
    if exchange.machine.state is not BusState.LIVE:
        missing.append(f"the bus of {process.holder} is {exchange.machine.state}")
    held = exchange.sizes["questions"], sum(map(len, exchange._open_batches.values()))
    if held[0] > 0 or held[1] > BATCHES_MAX:
        missing.append(f"{process.holder} waits for {held[0]} answers, {held[1]} batches")
    if len(process.node.account.log_offs):
        missing.append(f"{process.holder} has log-offs pending")
    return missing


def objects_of_users() -> list[object]:
    """Return the objects of users of a gateway in this process."""
    gc.collect()
    return [
        each
        for each in gc.get_objects()
        if type(each).__name__ in OF_A_USER and type(each).__module__.startswith("gateway.")
    ]


def when_all_are_gone(cluster: SimulatedCluster, strangers: Sequence[object]) -> None:
    """Check that surviving nodes hold no data of users who have logged off.

    Args:
        cluster: The cluster.
        strangers: Objects from before the simulation, since other tests may run in this process. The objects
            themselves: the identity of one that is gone may be another's later.
    """
    for process in cluster.processes:
        process.site.forget_closed()
    known = {id(each) for each in strangers}
    held = Counter(type(each).__name__ for each in objects_of_users() if id(each) not in known)
    if held:
        cluster.broken("memory is back at its baseline", str(dict(held)))
