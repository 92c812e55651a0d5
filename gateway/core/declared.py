"""What has OSCC-E declared that commands are held against?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from gateway.core.ledger import Ledger
from gateway.core.view import me_key
from gateway.domain.catalogue import (
    Parameter,
    Reason,
    Reasons,
    RoutingParameter,
    RoutingParameters,
    Skill,
    Skills,
)
from gateway.domain.model import REASONS, ROUTING_PARAMETERS, SITE, SKILLS, Kind, key_of
from gateway.domain.resources import Agent, FunctionState, Group, Me, Queue, Resource, Site
from gateway.domain.upstream import FunctionName


class Declared:
    """Catalogues, functions and present values, as a user's mirror has them at this moment.

    None means: not told yet, so nothing can be said against a command by it.

    Args:
        ledger: The user's mirror.
        handle: The session that asks.
    """

    def __init__(self, ledger: Ledger, handle: str) -> None:
        self._ledger = ledger
        self._handle = handle

    @property
    def skills(self) -> Mapping[str, Skill] | None:
        """The skills by id."""
        found = self._value(SKILLS)
        return {each.skill_id: each for each in found.skills} if isinstance(found, Skills) else None

    @property
    def reasons(self) -> Mapping[str, Reason] | None:
        """The reasons of all kinds by id."""
        found = self._value(REASONS)
        return {each.reason_id: each for each in found.reasons} if isinstance(found, Reasons) else None

    def parameters(self, kind: Kind) -> Mapping[str, RoutingParameter] | None:
        """Return the routing parameters of resources of *kind* by name."""
        found = self._value(ROUTING_PARAMETERS)
        if not isinstance(found, RoutingParameters):
            return None
        return {each.name: each for each in found.parameters if each.applies_to == kind}

    def is_down(self, name: FunctionName) -> bool:
        """Tell whether a function of OSCC-E is known to be down."""
        site = self._value(SITE)
        if not isinstance(site, Site) or site.functions is None:
            return False
        return bool(asdict(site.functions)[name] is FunctionState.DOWN)

    @property
    def own_agent(self) -> str | None:
        """The key of the session's own agent."""
        me = self._value(me_key(self._handle))
        return key_of(Kind.AGENT, int(me.agent)) if isinstance(me, Me) and me.agent is not None else None

    def agent(self, key: str | None) -> Agent | None:
        """Return an agent as he is now."""
        found = None if key is None else self._value(key)
        return found if isinstance(found, Agent) else None

    def parameters_of(self, key: str | None) -> Mapping[str, Parameter]:
        """Return the present routing parameters of a queue or group."""
        found = None if key is None else self._value(key)
        return (found.routing_parameters or {}) if isinstance(found, Queue | Group) else {}

    def _value(self, key: str) -> Resource | None:
        element = self._ledger.get(key)
        value = None if element is None else element.value
        return value if isinstance(value, Resource) else None
