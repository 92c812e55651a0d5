"""What is a session?"""

from __future__ import annotations

from tests.simulator.peer import World


def test_it_is_watched_while_attached_with_a_device_present() -> None:
    world = World()
    session = world.log_on("agent1")
    watched = [session.watched]
    link, _ = world.link(session)
    watched.append(session.watched)
    for method in ("Presence", "DetachSession"):
        world.ask(link, method, Session=1, Present=True)
        watched.append(session.watched)
    assert watched == [False, False, True, False]


def test_only_the_remote_assistants_is_remote() -> None:
    world = World()
    assert [world.log_on(user).remote for user in ("agent1", "supervisor1")] == [True, False]
