"""Accounts and sessions: start, keep-alive and end.

A session has a secret and a public id. An ended one is kept for 24 h, so that a log-off can be repeated until
it is confirmed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from gateway.simulator.contact_center import ContactCenter
from gateway.simulator.directory import FIRST_NAMES, LAST_NAMES, SUPERVISOR_KEYS, Directory
from gateway.simulator.fields import Refused
from gateway.simulator.model import Agent, By, Json, Remote, Scope
from gateway.simulator.settings import SimulatorSettings

Application = Literal["Dashboard", "RemoteAssistant"]
APPLICATIONS: Final[tuple[Application, ...]] = ("Dashboard", "RemoteAssistant")

OWN_RIGHTS: Final = ("OwnRoutingState", "OwnPostProcessing")
WRITE_RIGHTS: Final = ("SkillsWrite", "RoutingStateWrite", "RoutingParametersWrite")
RIGHTS: Final = WRITE_RIGHTS + OWN_RIGHTS
TEAM_LEADER_EVERY = 10
"""Share of agents who lead their team: every tenth also has a Dashboard log-on."""


@dataclass(slots=True)
class Account:
    """One user of the server, agent or supervisor or both."""

    key: int
    user_name: str
    first_name: str
    last_name: str
    department: str
    applications: tuple[Application, ...]
    dashboard_rights: tuple[str, ...]
    scope: Scope
    """For the Dashboard."""
    teams: tuple[int, ...] | None = None
    """The groups that determine the scope; None: everything."""
    scope_fixed: bool = False
    """Whether the scope was set by hand."""
    agent_key: int | None = None
    blocked: bool = False
    failures: int = 0
    locked_until_ms: int = 0

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}"

    def as_json(self) -> Json:
        """Return the user in the form of a log-on's answer."""
        return {
            "Key": self.key,
            "ID": self.user_name,
            "FirstName": self.first_name,
            "LastName": self.last_name,
            "Department": self.department,
        }


@dataclass(slots=True)
class Budget:
    """A token bucket: *per_s* on average, one second's worth at once."""

    per_s: float
    left: float = 0.0
    at_ms: int | None = None

    def take(self, now_ms: int) -> bool:
        """Take one; False when none is left."""
        grown = self.per_s if self.at_ms is None else self.left + (now_ms - self.at_ms) / 1000 * self.per_s
        self.at_ms = now_ms
        self.left = min(max(1.0, self.per_s), grown)
        if self.left < 1:
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class Accounts:
    """All users by name, with lock-out and the log-on budget.

    Invariant: an unknown name and a wrong password get the same answer.
    """

    settings: SimulatorSettings
    by_name: dict[str, Account]
    attempts: int = 0
    budget: Budget = field(init=False)
    _by_agent: dict[int, Account] = field(init=False)

    def __post_init__(self) -> None:
        """Fill the budget and index the agents' accounts."""
        self.budget = Budget(self.settings.log_on_budget_per_s)
        self._by_agent = {a.agent_key: a for a in self.by_name.values() if a.agent_key is not None}

    def authenticate(self, user_name: str, password: str, application: Application, now_ms: int) -> Account:
        """Return the account when it may log on as *application*.

        Raises:
            Refused: ``FunctionUnavailable`` (over budget), ``InvalidCredentials``, ``AccountLocked``,
                ``AccountBlocked``, ``RoleMissing``.
        """
        self.attempts += 1
        if not self.budget.take(now_ms):
            raise Refused("FunctionUnavailable", Function="AdministrationDatabase")
        account = self.by_name.get(user_name)
        if account is None:
            raise Refused("InvalidCredentials")
        if now_ms < account.locked_until_ms:
            raise Refused("AccountLocked", RetryAfter=-(-(account.locked_until_ms - now_ms) // 1000))
        if password != self.settings.password:
            self._count_failure(account, now_ms)
            raise Refused("InvalidCredentials")
        account.failures = 0
        if account.blocked:
            raise Refused("AccountBlocked")
        if application not in account.applications:
            raise Refused("RoleMissing")
        return account

    def by_agent(self, agent_key: int) -> Account | None:
        """Return the account of an agent."""
        return self._by_agent.get(agent_key)

    def add(self, account: Account) -> None:
        """Add an account."""
        self.by_name[account.user_name] = account
        if account.agent_key is not None:
            self._by_agent[account.agent_key] = account

    def _count_failure(self, account: Account, now_ms: int) -> None:
        account.failures += 1
        if account.failures >= self.settings.lock_out_tries:
            account.failures = 0
            account.locked_until_ms = now_ms + self.settings.lock_out_s * 1000


def open_accounts(settings: SimulatorSettings, directory: Directory) -> Accounts:
    """Create the accounts ``supervisor1…N`` and ``agent1…N``; supervisor1 sees everything."""
    accounts = Accounts(settings, {})
    groups = sorted(directory.groups)
    for n in range(settings.users):
        everything = n == 0 or settings.all_see_everything
        accounts.add(_supervisor(n, None if everything else (groups[(n - 1) % len(groups)],)))
    for n, agent in enumerate(directory.agents.values(), 1):
        accounts.add(agent_account(agent, directory, leads=n % TEAM_LEADER_EVERY == 0))
    scopes = Scopes(directory)
    for account in accounts.by_name.values():
        account.scope = scopes.of(account.teams)
    return accounts


def agent_account(agent: Agent, directory: Directory, *, leads: bool = False) -> Account:
    """Return the account of an agent; one who *leads* may use the Dashboard for their team."""
    return Account(
        agent.key,
        agent.user_id,
        agent.first_name,
        agent.last_name,
        directory.groups[agent.group_keys[0]].name,
        APPLICATIONS if leads else ("RemoteAssistant",),
        RIGHTS,
        Scope(),
        teams=agent.group_keys,
        agent_key=agent.key,
    )


@dataclass(slots=True)
class Scopes:
    """Scopes of the present directory; equal ones are one object, so that links share frames."""

    directory: Directory
    _known: dict[tuple[int, ...] | None, Scope] = field(default_factory=dict)

    def of(self, teams: tuple[int, ...] | None) -> Scope:
        """Return the scope of a leader of *teams*; None sees everything."""
        if teams not in self._known:
            found = self.directory.everything() if teams is None else self.directory.within(teams)
            self._known[teams] = found
        return self._known[teams]


def _supervisor(index: int, teams: tuple[int, ...] | None) -> Account:
    return Account(
        SUPERVISOR_KEYS + index + 1,
        f"supervisor{index + 1}",
        FIRST_NAMES[(index * 7 + 3) % len(FIRST_NAMES)],
        LAST_NAMES[(index * 11 + 5) % len(LAST_NAMES)],
        "Customer service",
        ("Dashboard",),
        WRITE_RIGHTS,
        Scope(),
        teams=teams,
    )


EndReason = Literal["LoggedOff", "LoggedOffBySupervisor", "Expired", "Blocked", "Maintenance", "TakenOver"]


@dataclass(frozen=True, slots=True)
class LogOn:
    """The content of a log-on."""

    application: Application
    user_name: str
    password: str
    device_id: str
    device_name: str
    remote_number: str | None = None
    takeover: bool = False


@dataclass(slots=True)
class Session:
    """One log-on of one user at one device."""

    secret: str
    public_id: str
    account: Account
    application: Application
    device_id: str
    device_name: str
    since_ms: int
    expires_ms: int
    idle_timeout_s: int
    rights: tuple[str, ...]
    scope: Scope
    link_id: str | None = None
    alias: int = 0
    present: bool = False
    ever_attached: bool = False
    idle_ms: int = 0
    counted_ms: int = 0
    """Time until which idle time has been counted."""

    @property
    def remote(self) -> bool:
        """Whether it is a RemoteAssistant session."""
        return self.application == "RemoteAssistant"

    @property
    def watched(self) -> bool:
        """Whether it is attached, with a device present."""
        return self.link_id is not None and self.present


@dataclass(frozen=True, slots=True)
class Ended:
    """An ended session."""

    session: Session
    reason: EndReason
    by: str | None
    at_ms: int

    def as_json(self) -> Json:
        """Return the reason, and who caused the end if that is known."""
        found: Json = {"Reason": self.reason}
        if self.by is not None:
            found["By"] = self.by
        return found


_DIALLED: Final = re.compile(r"\+?[0-9]+")
_PUNCTUATION: Final = re.compile(r"[\s().\-/]")
_DIGITS: Final = range(7, 16)
"""ITU-T E.164 allows 15 digits; anything under 7 is a service or emergency number."""


def normalise(number: str, settings: SimulatorSettings) -> str:
    """Return the number in effect: ``+`` and digits.

    Raises:
        Refused: ``RemoteNumberMissing``, ``RemoteNumberInvalid``, ``RemoteNumberNotAllowed``.
    """
    bare = _PUNCTUATION.sub("", number.strip())
    if not bare:
        raise Refused("RemoteNumberMissing")
    if not _DIALLED.fullmatch(bare):
        raise Refused("RemoteNumberInvalid")
    if bare.startswith("00"):
        bare = "+" + bare[2:]
    elif bare.startswith("0"):
        bare = f"+{settings.country_code}{bare[1:]}"
    if not bare.startswith("+") or len(bare) - 1 not in _DIGITS:
        raise Refused("RemoteNumberInvalid")
    if not bare.startswith(settings.allowed_prefixes) or bare.startswith(settings.barred_prefixes):
        raise Refused("RemoteNumberNotAllowed")
    return bare


REMEMBERED_MS = 24 * 3600 * 1000
REMEMBERED_MOST = 100_000
"""Ended sessions; the oldest is removed first."""

OnEnd = Callable[[Ended], None]


class Sessions:
    """All sessions of the server.

    Invariant: a user has at most one RemoteAssistant session. Their agent is logged on remotely exactly while
    it lives (or, after its end during a contact, until the limit).
    """

    def __init__(
        self,
        center: ContactCenter,
        accounts: Accounts,
        settings: SimulatorSettings,
        new_secret: Callable[[], str],
    ) -> None:
        self._center = center
        self._accounts = accounts
        self._settings = settings
        self._new_secret = new_secret
        self._live: dict[str, Session] = {}
        self._of_user: dict[int, list[Session]] = {}
        self._ended: dict[str, Ended] = {}
        self._last_end: dict[int, Ended] = {}
        self.on_end: OnEnd = lambda _ended: None
        """Called after a session ended."""
        self.log_ons = 0
        center.on_logged_off = self._agent_logged_off

    def __iter__(self) -> Iterator[Session]:
        """Return the live sessions."""
        return iter(list(self._live.values()))

    def of_user(self, user_key: int) -> tuple[Session, ...]:
        """Return the live sessions of one user."""
        return tuple(self._of_user.get(user_key, ()))

    def get(self, secret: str) -> Session:
        """Return a live session.

        Raises:
            Refused: ``SessionUnknown``.
        """
        session = self._live.get(secret)
        if session is None:
            raise Refused("SessionUnknown")
        return session

    def is_live(self, session: Session) -> bool:
        """Return whether the session has not ended."""
        return session.secret in self._live

    def last_end(self, user_key: int) -> Ended | None:
        """Return the user's session that ended last, within the last 24 h."""
        return self._last_end.get(user_key)

    def routing_table(self) -> dict[str, str]:
        """Return user name → number of each agent whose calls are routed outside."""
        agents = self._center.directory.agents.values()
        return {each.user_id: each.remote.number for each in agents if each.remote is not None}

    # ---- log-on ----

    def log_on(self, asked: LogOn) -> Session:
        """Open a session; a RemoteAssistant's agent is logged on with it, unavailable.

        Raises:
            Refused: Any error of ``POST /oscce/v1/sessions``.
        """
        now_ms = self._center.now_ms
        functions = self._center.functions
        functions.need("AdministrationDatabase")
        account = self._accounts.authenticate(asked.user_name, asked.password, asked.application, now_ms)
        number = None
        if asked.application == "RemoteAssistant":
            functions.need("LocalRouting", "RemoteAgent")
            number = normalise(asked.remote_number or "", self._settings)
        replaced = self._replaced(account, asked)
        if number is not None:
            self.check_free(number, account)
        session = self._open(account, asked)
        if replaced is not None:
            self._end(replaced, "TakenOver", asked.device_name, leave=False)
        if number is not None:
            self._agent_logs_on(account, number)
        return session

    def check_free(self, number: str, account: Account) -> None:
        """Return only when no other agent's calls are routed to *number*.

        Raises:
            Refused: ``NumberInUse``.
        """
        for agent in self._center.directory.agents.values():
            if agent.remote is not None and agent.remote.number == number and agent.key != account.agent_key:
                raise Refused("NumberInUse")

    def remote_number(self, session: Session) -> str | None:
        """Return the number in effect of a RemoteAssistant session."""
        agent = self.agent_of(session)
        return agent.remote.number if session.remote and agent is not None and agent.remote else None

    def agent_of(self, session: Session) -> Agent | None:
        """Return the agent of the session's user."""
        key = session.account.agent_key
        return None if key is None else self._center.directory.agents.get(key)

    # ---- life ----

    def keep_alive(self, session: Session) -> int:
        """Renew the session for its whole life; return its new end."""
        session.expires_ms = self._center.now_ms + self._settings.session_life_s * 1000
        return session.expires_ms

    def attach(self, session: Session, link_id: str, alias: int) -> None:
        """Record that the session is on a link; it is absent until a device is reported as present."""
        self._count(session)
        session.link_id, session.alias, session.ever_attached = link_id, alias, True
        self.set_present(session, present=False)

    def detach(self, session: Session) -> None:
        """Record that the session is no longer on a link."""
        self.set_present(session, present=False)
        session.link_id, session.alias = None, 0

    def set_present(self, session: Session, *, present: bool) -> None:
        """Record whether a device of the session is connected."""
        self._count(session)
        session.present = present
        if session.watched:
            session.idle_ms = 0
        agent = self.agent_of(session)
        if session.remote and agent is not None and agent.remote is not None:
            known = agent.remote
            if known.present != session.watched:
                absent_ms = None if session.watched else self._center.now_ms
                sent = replace(known, present=session.watched, absent_since_ms=absent_ms)
                self._center.set_remote(agent, sent, seen_by_all=True)

    def advance(self) -> None:
        """End due sessions: expired, idle for too long, or never attached."""
        now_ms = self._center.now_ms
        for session in list(self._live.values()):
            self._count(session)
            unattached = not session.ever_attached and (
                now_ms - session.since_ms >= self._settings.attach_within_s * 1000
            )
            if unattached or now_ms >= session.expires_ms or self._is_idle_too_long(session):
                self.end(session, "Expired")
        oldest = next(iter(self._ended.values()), None)
        while oldest is not None and now_ms - oldest.at_ms >= REMEMBERED_MS:
            self._forget_oldest()
            oldest = next(iter(self._ended.values()), None)

    # ---- end ----

    def end(self, session: Session, reason: EndReason, by: str | None = None) -> Ended:
        """End a session; a RemoteAssistant's agent is logged off, after their contact if they have one."""
        return self._end(session, reason, by, leave=True)

    def find_own(self, session: Session, public_id: str) -> Session | Ended:
        """Return another session of the same user by its public id, live or ended.

        Raises:
            Refused: ``NotFound``.
        """
        for other in self.of_user(session.account.key):
            if other.public_id == public_id:
                return other
        for ended in self._ended.values():
            if ended.session.public_id == public_id and ended.session.account is session.account:
                return ended
        raise Refused("NotFound")

    def find(self, secret: str) -> Session | Ended:
        """Return a session by its secret, live or ended within 24 h.

        Raises:
            Refused: ``SessionUnknown``.
        """
        found = self._live.get(secret) or self._ended.get(secret)
        if found is None:
            raise Refused("SessionUnknown")
        return found

    def routing_of(self, ended: Ended) -> Json:
        """Return what is still routed for an ended session, at this moment."""
        agent = self.agent_of(ended.session)
        if not ended.session.remote or ended.reason == "TakenOver":
            return {"Routing": "None"}
        if agent is not None and agent.remote is not None and agent.remote.routed_until_ms is not None:
            until_ms = agent.remote.routed_until_ms + self._center.skew_ms
            return {"Routing": "AfterContact", "RoutedUntil": until_ms}
        return {"Routing": "Removed"}

    def forget_all(self) -> None:
        """Remove all sessions, as after a restart; remote agents are logged off and their routing ends."""
        for agent in self._center.directory.agents.values():
            if agent.remote is not None:
                self._center.force_off(agent)
        for each in (self._live, self._of_user, self._ended, self._last_end):
            each.clear()

    # ---- inside ----

    def _open(self, account: Account, asked: LogOn) -> Session:
        now_ms = self._center.now_ms
        remote = asked.application == "RemoteAssistant"
        settings = self._settings
        agent = self._center.directory.agents[account.agent_key] if account.agent_key is not None else None
        own = remote and agent is not None
        session = Session(
            self._new_secret(),
            f"s{self._new_secret()[:12]}",
            account,
            asked.application,
            asked.device_id,
            asked.device_name,
            now_ms,
            now_ms + settings.session_life_s * 1000,
            settings.idle_timeout_s if remote else settings.dashboard_idle_timeout_s,
            OWN_RIGHTS if own else account.dashboard_rights,
            self._center.directory.own(agent) if own and agent is not None else account.scope,
            counted_ms=now_ms,
        )
        self._live[session.secret] = session
        self._of_user.setdefault(account.key, []).append(session)
        self.log_ons += 1
        return session

    def _replaced(self, account: Account, asked: LogOn) -> Session | None:
        for old in self.of_user(account.key):
            if old.application != asked.application:
                continue
            if old.device_id == asked.device_id:
                return old
            if old.remote:
                if asked.takeover:
                    return old
                since_ms = old.since_ms + self._center.skew_ms
                raise Refused("AlreadyLoggedOn", Where=old.device_name, Since=since_ms)
        return None

    def _agent_logs_on(self, account: Account, number: str) -> None:
        agent = self._center.directory.agents[account.agent_key or 0]
        remote = Remote(number, absent_since_ms=self._center.now_ms)
        if agent.logged_on and agent.remote is not None and agent.remote.routed_until_ms is None:
            self._center.set_remote(agent, remote, seen_by_all=True)
        else:
            self._center.log_on(agent, remote)

    def _agent_logged_off(self, agent: Agent, by: By, by_name: str | None) -> None:
        reason: EndReason = "LoggedOff" if by == "Self" else "LoggedOffBySupervisor"
        account = self._accounts.by_agent(agent.key)
        for session in self.of_user(account.key) if account is not None else ():
            if session.remote:
                self._end(session, reason, None if by == "Self" else by_name, leave=False)

    def _end(self, session: Session, reason: EndReason, by: str | None, *, leave: bool) -> Ended:
        ended = Ended(session, reason, by, self._center.now_ms)
        if self._live.pop(session.secret, None) is None:
            return self._ended.get(session.secret, ended)
        self._of_user[session.account.key].remove(session)
        if not self._of_user[session.account.key]:
            del self._of_user[session.account.key]
        self._ended[session.secret] = ended
        self._last_end[session.account.key] = ended
        if len(self._ended) > REMEMBERED_MOST:
            self._forget_oldest()
        agent = self.agent_of(session)
        if leave and session.remote and agent is not None:
            self._center.leave(agent, self._settings.after_contact_limit_s * 1000)
        self.on_end(ended)
        return ended

    def _forget_oldest(self) -> None:
        ended = self._ended.pop(next(iter(self._ended)))
        if self._last_end.get(ended.session.account.key) is ended:
            del self._last_end[ended.session.account.key]

    def _count(self, session: Session) -> None:
        now_ms = self._center.now_ms
        agent = self.agent_of(session)
        handling = session.remote and agent is not None and bool(agent.contacts)
        if not session.watched and not handling:
            session.idle_ms += now_ms - session.counted_ms
        session.counted_ms = now_ms

    def _is_idle_too_long(self, session: Session) -> bool:
        return 0 < session.idle_timeout_s * 1000 <= session.idle_ms
