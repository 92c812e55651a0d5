"""Distribution of messages to links, in order.

The server without its sockets.

Everything here happens at once, without waiting: between deciding and sending nothing can come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.simulator.accounts import Accounts
from gateway.simulator.changes import Changes, Kind
from gateway.simulator.contact_center import ContactCenter
from gateway.simulator.errors import Refused
from gateway.simulator.frames import message
from gateway.simulator.link import Link, Outlet
from gateway.simulator.links import Links
from gateway.simulator.model import Json
from gateway.simulator.reading import Publication, Reading
from gateway.simulator.session import Ended, Session
from gateway.simulator.sessions import Sessions
from gateway.simulator.settings import KEEP_ALIVE_S, SimulatorSettings
from gateway.simulator.subscriptions import attached_json

SESSIONS_EVERY_MS = 250
"""How often it is looked which sessions are due."""
REMOVED: Final = b'"Removed":['
LINGER_MS = 5000
"""So long does a link stay after its last session: a take-over may follow."""
NORMAL, REPLACED = 1000, 4409

HELD_BACK: Final[dict[str, tuple[Kind, ...]]] = {
    "RealTime": (Kind.USER, Kind.QUEUE, Kind.GROUP, Kind.AGGREGATE),
    "Historical": (Kind.QUEUE_CUMULATIVE, Kind.USER_CUMULATIVE),
}
"""Function → the kinds that are not told while it is down."""


class Switchboard:
    """All present links, and what they are told.

    Invariants: events that carry a request's effect are sent before its response; one reading goes to
    all links with the same time and the same bytes; a replaced link is sent nothing but its replacement.
    """

    def __init__(
        self,
        settings: SimulatorSettings,
        center: ContactCenter,
        accounts: Accounts,
        sessions: Sessions,
        new_id: Callable[[], str],
    ) -> None:
        self.settings = settings
        self.center = center
        self.accounts = accounts
        self.sessions = sessions
        self.links = Links(fencing="LinkFencing" in settings.features)
        self.server_instance = f"{center.wall_ms}.0"
        """Another one after a restart."""
        self.open_links: dict[str, Link] = {}
        self.restarts = 0
        self.published_changes = 0
        """Element changes read so far."""
        self._new_id = new_id
        self._ended: list[Ended] = []
        self._last_reading: Reading | None = None
        self._sessions_at_ms = center.now_ms
        sessions.on_end = self._ended.append

    # ---- a link's life ----

    def admit(self, session: Session, token: int | None, holder: str | None) -> Link:
        """Let a new link be the user's; the old one is replaced in the same breath.

        Raises:
            Refused: ``BadRequest``, ``LinkStale``.
        """
        link = Link(self._new_id(), session)
        account = session.account
        old = self.links.admit(
            account.key, account.user_name, link.link_id, token, holder, self.center.now_ms
        )
        self.open_links[link.link_id] = link
        if old is not None:
            self._replace(old, token or 0)
        return link

    def opened(self, link: Link, outlet: Outlet) -> None:
        """The socket stands: greet, unless the link was replaced meanwhile."""
        link.outlet = outlet
        if link.replaced_by is not None:
            self._say_replaced(link, link.replaced_by)
            return
        session = link.opened_by
        if not self.sessions.is_live(session):
            outlet.close(NORMAL)
            return
        attached = self._attach(link, session)
        greeting: Json = {
            "Type": "LinkOpened",
            "LinkID": link.link_id,
            "Time": self.center.wall_ms,
            "KeepAlive": KEEP_ALIVE_S,
            "ServerInstance": self.server_instance,
            "User": link.account.as_json(),
            "Session": attached,
        }
        last_end = self.sessions.last_end(link.account.key)
        if last_end is not None:
            greeting["LastEnd"] = self._last_end(last_end)
        link.send(message(greeting), *(message(each) for each in self.center.functions.messages()))

    def closed(self, link: Link) -> None:
        """The socket is gone: its sessions are absent and on no link."""
        self.open_links.pop(link.link_id, None)
        self.links.closed(link.account.key, link.link_id, self.center.now_ms)
        self._detach_all(link)

    def restart(self) -> None:
        """Forget all links, sessions and tokens. The sockets are to be cut by whoever holds them."""
        self.restarts += 1
        for link in list(self.open_links.values()):
            self.closed(link)
        self.server_instance = f"{self.center.wall_ms}.{self.restarts}"
        self.sessions.forget_all()
        self.links.restart()
        self._ended.clear()

    def is_present(self, link: Link) -> bool:
        """Tell whether requests on *link* are still executed."""
        return link.replaced_by is None and link.link_id in self.open_links

    def of_user(self, user_key: int) -> Link | None:
        """Return the present link of a user."""
        link_id = self.links.present(user_key)
        return None if link_id is None else self.open_links.get(link_id)

    def outbid(self, user_key: int, token: int | None = None) -> int:
        """Act as if another holder had opened a link with a higher token; returns that token."""
        highest, old = self.links.outbid(user_key, token)
        if old is not None:
            self._replace(old, highest)
        return highest

    # ---- sessions on links ----

    def attach(self, link: Link, session: Session) -> Json:
        """Attach a session to its user's link; what that lets be seen precedes the answer.

        Raises:
            Refused: ``Forbidden`` for another user's session.
        """
        if session.account is not link.account:
            raise Refused("Forbidden")
        for alias, attached in link.subscriptions.sessions.items():
            if attached is session:
                return attached_json(session, alias, session.account.agent_key)
        return self._attach(link, session)

    def detach(self, link: Link, alias: int) -> None:
        """Take a session off the link without ending it."""
        session = link.subscriptions.sessions.pop(alias)
        self.sessions.detach(session)
        self._rescoped(link)

    def rescope(self, link: Link, elements: list[Json]) -> None:
        """Tell of changed scopes: *elements* and every object gained, then whole sets."""
        subscriptions = link.subscriptions
        gained = subscriptions.union().keys - subscriptions.scope.keys
        added: list[Json] = [
            {
                "ObjectType": kind,
                "Key": key,
                "Change": "Added",
                "Object": self.center.directory.object_json(key),
            }
            for key in sorted(gained)
            if (kind := self.center.directory.kind_of(key)) is not None
        ]
        link.send(*subscriptions.administration([*elements, *added], self.center.wall_ms))
        self._send_rescoped(link)

    def flush_ended(self) -> None:
        """Tell links of the sessions that ended."""
        ended, self._ended[:] = list(self._ended), []
        for each in ended:
            self._tell_end(each)
            user_key = each.session.account.key
            if not self.sessions.of_user(user_key):
                self.links.forget_token(user_key)

    # ---- events ----

    def reading(self) -> Reading:
        """Return the values now; the last reading as long as it holds."""
        if self._last_reading is None or not self._last_reading.holds():
            self._last_reading = Reading(self.center)
        return self._last_reading

    def publish(self) -> None:
        """Send what changed since the last reading to all links that may see it."""
        changes, self.center.changes = self.center.changes, Changes()
        self._send(changes)

    def with_effects(self, act: Callable[[], Json]) -> Json:
        """Let *act* change the centre, and send what it changed to all links before its answer is given.

        It is a reading of its own, so no link is told the same change again with the next one.
        """
        outer, self.center.changes = self.center.changes, Changes()
        try:
            return act()
        finally:
            effect, self.center.changes = self.center.changes, outer
            if effect:
                outer.told(effect)
                self._send(effect)
            self.flush_ended()

    def broadcast(self, content: Json) -> None:
        """Send one message to every link."""
        frame = message(content)
        for link in list(self.open_links.values()):
            link.send(frame)

    def turn(self, now_ms: int) -> None:
        """Let time pass: the centre, sessions that are due, links that linger. Nothing is published."""
        self.center.advance(now_ms)
        if now_ms - self._sessions_at_ms >= SESSIONS_EVERY_MS:
            self._sessions_at_ms = now_ms
            self.sessions.advance()
        self.flush_ended()
        for link in list(self.open_links.values()):
            if link.linger_until_ms is not None and now_ms >= link.linger_until_ms:
                self._say_good_bye(link)

    # ---- inside ----

    def _attach(self, link: Link, session: Session) -> Json:
        own = session.account.agent_key
        alias = link.subscriptions.attach(session, own)
        link.linger_until_ms = None
        self.sessions.attach(session, link.link_id, alias)
        self.rescope(link, [])
        return attached_json(session, alias, own)

    def _tell_end(self, ended: Ended) -> None:
        session = ended.session
        link = None if session.link_id is None else self.open_links.get(session.link_id)
        if link is None:
            return
        told: Json = {"Type": "SessionEnded", "Session": session.alias, "Reason": ended.reason}
        if ended.by is not None:
            told["By"] = ended.by
        link.send(message(told))
        link.subscriptions.sessions.pop(session.alias, None)
        session.link_id, session.present = None, False
        self._rescoped(link)

    def _rescoped(self, link: Link) -> None:
        self._send_rescoped(link)
        if not link.subscriptions.sessions:
            link.linger_until_ms = self.center.now_ms + LINGER_MS

    def _send_rescoped(self, link: Link) -> None:
        before = link.subscriptions.scope
        link.send(*link.subscriptions.rescope(self.reading()))
        if link.subscriptions.scope != before:
            link.late, link.repeatable = [], []

    def _send(self, changes: Changes) -> None:
        self._hold_back(changes)
        self.published_changes += len(changes)
        publication = Publication(self.reading(), changes)
        for link in list(self.open_links.values()):
            late, link.late = link.late, []
            if changes:
                self._publish_to(link, link.subscriptions.changed(publication, changes))
            link.send(*late)

    def _publish_to(self, link: Link, frames: list[bytes]) -> None:
        repeatable = [frame for frame in frames if REMOVED not in frame]
        if frames:
            link.repeatable = repeatable
        if link.hold_next and repeatable:
            link.hold_next, link.late = False, repeatable
            frames = [frame for frame in frames if REMOVED in frame]
        link.send(*frames)

    def _replace(self, link_id: str, token: int) -> None:
        link = self.open_links.pop(link_id, None)
        if link is None:
            return
        self._detach_all(link)
        link.replaced_by = token
        if link.outlet is not None:
            self._say_replaced(link, token)

    def _say_replaced(self, link: Link, token: int) -> None:
        link.send(message({"Type": "LinkReplaced", "Token": token}))
        if link.outlet is not None:
            link.outlet.close(REPLACED)

    def _say_good_bye(self, link: Link) -> None:
        self.closed(link)
        if link.outlet is not None:
            link.outlet.close(NORMAL)

    def _detach_all(self, link: Link) -> None:
        for session in link.subscriptions.sessions.values():
            if session.link_id == link.link_id:
                self.sessions.detach(session)
        link.subscriptions.sessions.clear()
        link.subscriptions.queries.clear()

    def _last_end(self, ended: Ended) -> Json:
        told: Json = {"Reason": ended.reason, "Time": ended.at_ms + self.center.skew_ms}
        if ended.by is not None:
            told["By"] = ended.by
        return told

    def _hold_back(self, changes: Changes) -> None:
        """What a function that is down would tell waits until it is up."""
        functions = self.center.functions
        for name, kinds in HELD_BACK.items():
            if functions.is_down(name):
                for kind in kinds:
                    self.center.changes.add(kind, changes.keys[kind])
                    changes.keys[kind] = set()
