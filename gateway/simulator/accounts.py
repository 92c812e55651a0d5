"""Accounts: who may log on, with which rights and scope, and the lock-out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.simulator.directory import Directory
from gateway.simulator.errors import Refused
from gateway.simulator.model import Agent, Json, Scope
from gateway.simulator.names import FIRST_NAMES, LAST_NAMES
from gateway.simulator.population import SUPERVISOR_KEYS
from gateway.simulator.settings import SimulatorSettings

Application = Literal["Dashboard", "RemoteAssistant"]
APPLICATIONS: Final[tuple[Application, ...]] = ("Dashboard", "RemoteAssistant")

OWN_RIGHTS: Final = ("OwnRoutingState", "OwnPostProcessing")
WRITE_RIGHTS: Final = ("SkillsWrite", "RoutingStateWrite", "RoutingParametersWrite")
RIGHTS: Final = WRITE_RIGHTS + OWN_RIGHTS
TEAM_LEADER_EVERY = 10
"""Every tenth agent leads his team: a Dashboard log-on beside the Remote Assistant's."""


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
    """Of the Dashboard."""
    teams: tuple[int, ...] | None = None
    """The groups from which the scope follows; None: everything."""
    scope_fixed: bool = False
    """The scope was set by hand and follows from nothing."""
    agent_key: int | None = None
    blocked: bool = False
    failures: int = 0
    locked_until_ms: int = 0

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first_name} {self.last_name}"

    def as_json(self) -> Json:
        """Return the user as a log-on tells him."""
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
        """Take one; False when nothing is left."""
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

    Invariant: an unknown name and a wrong password are told alike.
    """

    settings: SimulatorSettings
    by_name: dict[str, Account]
    attempts: int = 0
    budget: Budget = field(init=False)
    _by_agent: dict[int, Account] = field(init=False)

    def __post_init__(self) -> None:
        """Fill the budget and find each agent's account."""
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
        """Open one more account."""
        self.by_name[account.user_name] = account
        if account.agent_key is not None:
            self._by_agent[account.agent_key] = account

    def _count_failure(self, account: Account, now_ms: int) -> None:
        account.failures += 1
        if account.failures >= self.settings.lock_out_tries:
            account.failures = 0
            account.locked_until_ms = now_ms + self.settings.lock_out_s * 1000


def open_accounts(settings: SimulatorSettings, directory: Directory) -> Accounts:
    """Give ``supervisor1…N`` and ``agent1…N`` their accounts; supervisor1 sees everything."""
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
    """Return the account of an agent; one who *leads* may use the Dashboard for his team."""
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
    """Scopes of the directory as it is now; equal ones are one object, so that links share frames."""

    directory: Directory
    _known: dict[tuple[int, ...] | None, Scope] = field(default_factory=dict)

    def of(self, teams: tuple[int, ...] | None) -> Scope:
        """Return the scope of whoever leads *teams*; None sees everything."""
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
