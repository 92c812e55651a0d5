"""Every attribute that keeps data, with its category of the inventory.

Each attribute of a class that holds many of something, each container of a module that begins empty, and each
function that remembers. A place that is not listed fails the build: each new one is listed here with its
contents.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Final

MIRROR, NOBODY = "agent.personal", ""
"""The mirrors, of whatever resource; nothing about a person."""
CONTAINERS: Final = frozenset(
    {
        "Connections", "Counter", "KeyedRates", "OrderedDict", "Quota", "SmallMap",
        "WeakKeyDictionary", "WeakSet", "WeakValueDictionary", "defaultdict", "deque", "dict", "list", "set",
    }
)  # fmt: skip
ROOMS: Final = ("app/", "bus/", "core/", "domain/", "edge/", "runtime/", "telemetry.py", "upstream/")


def places(texts: Mapping[str, str]) -> Iterator[str]:
    """Yield ``file Class.attribute`` of what holds many; ``file function`` of what remembers."""
    for path, text in texts.items():
        module = ast.parse(text)
        yield from (f"{path} {name}" for name in _containers(module))
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef) and any(map(_remembers, node.decorator_list)):
                yield f"{path} {node.name}"
            if isinstance(node, ast.AnnAssign) and node.value is not None and _remembers(node.value):
                yield f"{path} {ast.unparse(node.target)}"
            if isinstance(node, ast.ClassDef):
                is_lean = any(
                    isinstance(base, ast.Name) and base.id == "UntrackedStruct" for base in node.bases
                )
                for each in ast.walk(node):
                    name = _attribute(each, is_lean=is_lean) if isinstance(each, ast.AnnAssign) else None
                    if name is not None:
                        yield f"{path} {node.name}.{name}"


def _remembers(decorator: ast.expr) -> bool:
    return any(
        isinstance(each, ast.Name) and each.id in {"cache", "lru_cache"} for each in ast.walk(decorator)
    )


def _containers(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if isinstance(node, ast.AnnAssign) and _begins_empty(node.value):
            yield ast.unparse(node.target)


def _begins_empty(value: ast.expr | None) -> bool:
    """Return whether a module keeps something in *value* later: a container without contents."""
    match value:
        case ast.Dict(keys=[]) | ast.List(elts=[]):
            return True
        case ast.Call(func=ast.Name(id=name), args=[]):
            return name in CONTAINERS
        case _:
            return False


def _names(words: list[str]) -> Iterator[str]:
    """Yield ``Class.attribute`` for each attribute of one class; a function stands alone."""
    kind, _, first = words[0].partition(".")
    yield words[0]
    for attribute in words[1:]:
        assert first, f"{kind} is no class"
        yield f"{kind}.{attribute}"


def _attribute(node: ast.AnnAssign, *, is_lean: bool) -> str | None:
    """Return the name of the attribute, if it holds many. *is_lean*: the class has no constructor."""
    match node.target:
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            pass
        case ast.Name(id=name) if is_lean or name.startswith("_"):  # of a struct without a constructor
            pass
        case _:
            return None
    names = {each.id for each in ast.walk(node.annotation) if isinstance(each, ast.Name)}
    names |= {each.attr for each in ast.walk(node.annotation) if isinstance(each, ast.Attribute)}
    return name if names & CONTAINERS else None


PLACES: Final[dict[str, str]] = {
    place: category
    for category, listed in {
        MIRROR: """
            bus/sealing.py SenderInstances._held;
            bus/memory.py MemoryChannels.receivers;
            bus/redis.py Pipeline._pending; bus/redis.py RedisClient._queue;
            core/assembly.py Assembly._queries; core/assembly.py _KindParts.times sent;
            core/assembly.py _ReadTimes.others_ms; core/view.py RefCounter._others;
            core/assembly.py Composer.newest _more_holders _catalogues;
            core/element.py ReadingStep.parts_after other_times_ms shown_after rereads;
            domain/model.py TablePool._offers;
            core/element.py OpenSteps._steps; domain/model.py NextTables._known;
            core/fanout_group.py FanoutGroup.dirty members own_frames positions;
            core/element.py Element._fragments; core/element.py ChangeSet.befores elements _written;
            core/ledger.py VersionedMap.elements gone seqs;
            core/ledger.py Ledger.readers joinable firsts own_news; core/outbox.py Outbox._control _dirty;
            edge/channel.py Channel._frames;
            runtime/subscriptions.py Queries._queries _asked_at;
            runtime/subscriptions.py RequestsUnderWay._under_way;
            runtime/mirror.py Mirror._composed _uncomposed; runtime/mirror.py _site;
            runtime/mirror.py _functions_after;
            runtime/follower.py RemoteCommands._under_way;
            runtime/handover.py ChangePublisher._asked_at _changed;
            runtime/cluster.py Bundles._sources; core/follower.py Shared._compared _made;
            runtime/cluster_receiver.py ClusterReceiver._recent;
            upstream/asterisk/ami.py AmiConnection._pending;
            upstream/asterisk/link.py AsteriskLink._inbox _pending by_kind next_queries queries;
            upstream/asterisk/publisher.py Publisher._agents _due _groups _names _own _planned;
            upstream/asterisk/state.py Pass._callers _members _names;
            upstream/asterisk/state.py Queues._passes changed_interfaces changed_queues contacts memberships;
            upstream/asterisk/state.py Queues.queues _doubted refresh settling unknown unlisted;
            upstream/asterisk/people.py AsteriskView._configurations _directories _learned _skills;
            upstream/asterisk/people.py AsteriskView.facts interfaces parts;
            upstream/oscce/socket.py Frames._held _parts;
            upstream/oscce/link.py OsccLink._pending _own_agents;
            upstream/oscce/readings.py Unread._kept _places; upstream/oscce/socket.py LinkSocket._inbox;
            upstream/oscce/readings.py _Generation.events parts;
            upstream/oscce/readings.py Readings._sets _catalogues
        """,
        "token": """
            upstream/asterisk/link.py AsteriskLink.attached;
            upstream/asterisk/publisher.py Publisher.links; upstream/asterisk/publisher.py PersonScopes._made;
            domain/model.py SmallMap._more;
            core/registry.py Registry._users _phones _lingering;
            core/view.py UserSessions.by_handle _devices _elsewhere _left _aliases _rescoped _changed;
            edge/scheduler.py Scheduler.sockets waiting _wheel _ticks;
            edge/routes.py SessionRoutes._exporting;
            runtime/sessions.py SessionAdmission._waiting;
            core/registry.py WaitQueue._turns _turn_of _touched; runtime/node.py Node._waiting_phones;
            runtime/subscriptions.py LinkSubscriptions._attach_due _presence_due _doubts;
            runtime/mirror.py Feed.connections; runtime/user_state.py UserState.local;
            core/rate_limits.py AdmissionQueue._waiting_phones _others;
            core/link.py OpeningLinks._began;
            runtime/node.py UserStates._user_states; runtime/node.py Node._tickets;
            core/registry.py DueTimes._touched; runtime/link_session.py LeaseRenewals._waiting;
            runtime/link_session.py OnDemandTasks._running;
            core/lease.py DueSlots._slots _order; core/follower.py FollowedNodes._owner_of;
            runtime/command_execution.py CommandedUser._holds_until;
            runtime/follower.py RemoteAttach.accepted _again_at _waiting;
            runtime/sessions.py SessionRenewal._under_way
        """,
        "asterisk_database": """
            upstream/asterisk/accounts.py AsteriskAccounts._numbers _present _until_s;
            upstream/asterisk/link.py AsteriskSessions._by_key _of
        """,
        "people_file": "upstream/asterisk/people.py PeopleFile.by_interface by_login by_number",
        "connection": """
            core/rate_limits.py KeyedRates._full_at _next_at; core/log_ons.py LogOnQueue._addresses;
            edge/limits.py PendingConnections._open _of _silent; app/process.py _Acceptor._listening _rests;
            edge/limits.py SocketAdmission._silent _rate_of;
            edge/limits.py RequestRates._of_session _of_address;
            runtime/event_loop.py EpollTransports._transports;
            upstream/oscce/__init__.py OsccServer._links_open
        """,
        "failed_log_ons": """
            core/log_ons.py LogOnGuard._names; core/log_ons.py LogOnQueue._appointments _waiting;
            runtime/accounts.py LogOns._names
        """,
        "ended_sessions": "core/registry.py Denylist._entries",
        "command_outcomes": """
            upstream/asterisk/__init__.py AsteriskServer._answers;
            core/commands.py CommandRecords._in_flight _settled;
            runtime/command_execution.py CommandExecution._sent _waiting; edge/socket.py PhoneSocket._leaves;
            core/registry.py CommandHistory._present _absent
        """,
        "pending_log_offs": """
            runtime/sessions.py LogOffs._pending _under_way _answered rates;
            runtime/accounts.py Accounts._listing _ending
        """,
        "remembered_ids": """
            core/link.py wanted_by; core/link.py _listens_to; core/view.py _in_order;
            core/view.py _same; core/view.py _common_view;
            upstream/asterisk/people.py number_of; upstream/asterisk/people.py _skill;
            domain/model.py handle_of; domain/model.py _shared_keys;
            edge/credentials.py _user; core/view.py same_topics
        """,
        "number_changes": """
            core/rate_limits.py Quota._taken; runtime/node.py Node.number_changes;
            runtime/accounts.py LogOns._numbers
        """,
        "session_log": "app/logging.py CloseHistory._ring; app/logging.py LineWriter._lines",
        "places_in_the_cluster": """
            upstream/asterisk/__init__.py AsteriskServer._tokens;
            bus/memory.py MemoryLeases._leases _floors; bus/memory.py _Expiring._values _ends;
            bus/sealing.py SenderInstances._answers _asked _known _passed; bus/pubsub.py RedisBus._receivers;
            bus/connect.py KeyNames._users; bus/pubsub.py Subscriber._subscriptions _changes _watchers;
            core/follower.py Peers._peers; core/follower.py FollowedNodes._users_of;
            runtime/cluster.py Exchange._requests _batches _open_batches _unconfirmed _replies;
            runtime/ownership.py LinkDialer._others
        """,
        NOBODY: """
            edge/routes.py PublicRoutes._schemas;
            app/reload.py CertificateReloader._chain; app/admin.py StatusLog._away;
            app/admin.py _BusLines._written;
            telemetry.py RuntimeCounters._unread_rows; telemetry.py Counts.values;
            telemetry.py Telemetry.labels; telemetry.py UpdateTimes._fresh;
            runtime/event_loop.py LeanEvent._waiters;
            upstream/oscce/errors.py NOTHING_UNREAD;
            upstream/oscce/errors.py UnreadableMessages._logs_at _numbers;
            upstream/oscce/decode.py _formulas; edge/channel.py _INTERNED; edge/credentials.py _NOTHING;
            upstream/oscce/directory.py _RowReader._dropped; app/logging.py RepetitionFilter._windows;
            app/cli/demo_cluster.py LoadBalancer.carried; app/adapters.py Keyring._holders;
            bus/stores.py RedisBackend._running; core/drain_schedule.py Balance._sent;
            core/drain_schedule.py AwayLimit._counted _later _watched _usual_s;
            runtime/mirror.py SharedOffsets._seen_at;
            bus/cluster.py Topology._connectors _owners _watchers;
            bus/cluster.py ClusterClient._clients _runs;
            bus/pubsub.py Subscriber.possible_losses; bus/redis.py RedisClient.losses;
            bus/connect.py Refusals._said_at;
            bus/sealing.py Seals._ciphers dropped; runtime/event_loop.py LinkScheduler.due _held;
            core/rate_limits.py RateViolations._errors; core/session.py _intervals;
            edge/credentials.py Tokens._keys;
            runtime/cluster_receiver.py ClusterMembership._known _last_received_at;
            runtime/sessions.py LogOffs._repeats;
            runtime/cluster_receiver.py AdminRpc._known
        """,
    }.items()
    for group in " ".join(listed.split()).split("; ")
    for place in (f"{group.split()[0]} {name}" for name in _names(group.split()[1:]))
}
