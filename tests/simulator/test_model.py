"""Do the few rules of the data hold?"""

from __future__ import annotations

from gateway.simulator.model import Agent, Contact, Pending, Scope, UserCounters


def test_equal_or_smaller_scopes_stay_one_object() -> None:
    users = frozenset((1, 2))
    one, other = Scope(users), Scope(frozenset((1,)), frozenset((5,)))
    assert (one | other).users is users
    assert (other | one).users is users
    assert (one | other).keys == {1, 2, 5}
    assert (Scope(frozenset((1,))) | Scope(frozenset((2,)))).users == users


def test_only_whoever_waits_for_contacts_is_idle() -> None:
    agent = Agent(1, "a", "Anna", "Bauer", "1", (), {}, UserCounters(0))
    idle = [agent.idle]
    agent.logged_on, agent.state = True, "Available"
    idle.append(agent.idle)
    agent.pending = Pending("Unavailable", None, "Self")
    idle.append(agent.idle)
    agent.pending = None
    agent.contacts.append(Contact("C", "Voice", None, 0, 0))
    idle.append(agent.idle)
    assert idle == [False, True, False, False]
    assert agent.handling
    assert agent.name == "Anna Bauer"
