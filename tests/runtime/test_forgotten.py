"""Who is gone leaves memory at once: by reference counting alone, with the garbage collector off."""

from __future__ import annotations

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast
from weakref import ref

import pytest

from gateway.core.link import Linger
from gateway.domain.model import NodeId, Ticket, UserId
from gateway.runtime.event_loop import LinkScheduler, SystemClock
from gateway.runtime.node import NodeSettings
from gateway.runtime.ports import SiteParts
from gateway.runtime.user_state import UNFOLLOW_S
from gateway.simulator import Simulator, SimulatorSettings
from gateway.upstream.oscce import OsccServer
from gateway.upstream.oscce.link import OsccLink
from tests.doubles.clock import ManualClock
from tests.doubles.fake_upstream import FakeUpstream
from tests.runtime.nodes import open_nodes
from tests.runtime.scene import FakePhone, Scene, scene

LINGER_S = 2.0
SETTINGS = NodeSettings(NodeId("n1"), "n1-1", linger=Linger(LINGER_S, LINGER_S))
GONE_S = LINGER_S + 5
pytestmark = [pytest.mark.freezes, pytest.mark.usefixtures("without_collector")]

LINGER_REAL_S = 0.2
GIVE_UP_S = 60.0
"""Real time until a test gives up: it passes as soon as what it waits for is so, also on a busy machine."""
SETTINGS_REAL = NodeSettings(NodeId("n1"), "n1-1", linger=Linger(LINGER_REAL_S, LINGER_REAL_S))


class Traces:
    """What a node holds of one user, by weak references, which hold nothing."""

    def __init__(self, at: Scene, user: UserId) -> None:
        user_state = at.node.user_states[user]
        owner = at.owner(user.key)
        link = owner._link_session
        assert link is not None
        held = {
            "user state": user_state,
            "feed": user_state.feed,
            "ledger": user_state.feed.ledger,
            "owner": owner,
            "mirror": owner.mirror,
            "user sessions": owner.user_sessions,
            "publisher": owner.publisher,
            "execution": owner.execution,
            "link": link,
            "asking": link._asking,
        }
        if isinstance(link.link, OsccLink):
            held |= {"connection": link.link, "socket": link.link._socket}
        self._refs = {name: ref(each) for name, each in held.items()}

    @property
    def there(self) -> list[str]:
        """What is still there; a ticket has no weak references, it is looked for."""
        tickets = ["ticket" for _ in _tickets()]
        return [name for name, each in self._refs.items() if each() is not None] + tickets


def _tickets() -> list[Ticket]:
    return [each for each in gc.get_objects() if type(each) is Ticket]


def leave(at: Scene, phone: FakePhone) -> None:
    phone.leave()
    at.lines.remove(phone)


@pytest.mark.parametrize("logs_off", [True, False], ids=["logs off", "lingers"])
async def test_who_logged_off_or_whose_linger_is_over_is_gone(logs_off: bool) -> None:
    async with scene(SETTINGS) as at:
        phone = await at.served()
        traces = Traces(at, phone.ticket.user)
        if logs_off:
            await at.node.account.log_off(phone.ticket)
        leave(at, phone)
        del phone
        await at.pass_time(GONE_S)
        assert traces.there == []


async def test_of_a_user_who_comes_back_while_their_last_state_ends_nothing_of_that_is_kept() -> None:
    async with scene(SETTINGS) as at:
        phone = await at.served()
        second = await at.phone("anna", device="d2")
        traces = Traces(at, phone.ticket.user)
        at.node.user_states[phone.ticket.user].stop()
        second.hello()
        leave(at, phone)
        del phone
        await at.pass_time(1)
        assert second.health == "live"
        assert set(traces.there) == {"ticket"}, "that of the second phone"


async def test_whose_links_were_lost_and_who_gave_commands_is_gone() -> None:
    async with scene(SETTINGS) as at:
        phone = await at.served()
        first = Traces(at, phone.ticket.user)
        await phone.send_command("c1", "1")
        at.upstream.drop(phone.ticket.user)
        await at.pass_time(5)
        assert {"link", "asking"}.isdisjoint(first.there), "a link that was lost, while its user is served"
        traces = Traces(at, phone.ticket.user)
        at.upstream.unreachable = True
        at.upstream.drop(phone.ticket.user)
        await at.pass_time(20)
        at.upstream.unreachable = False
        await at.pass_time(40)
        last = Traces(at, phone.ticket.user)
        leave(at, phone)
        del phone
        await at.pass_time(GONE_S)
        assert first.there == traces.there == last.there == []


@pytest.mark.parametrize("is_dropped", [False, True])
async def test_whose_command_was_under_way_when_the_phone_left_is_gone(*, is_dropped: bool) -> None:
    async with scene(SETTINGS) as at:
        phone = await at.served()
        traces = Traces(at, phone.ticket.user)
        at.link().mute()
        await phone.send_command("c1", "1", expires_at_ms=at.clock.wall_ms() + 60_000)
        if is_dropped:
            at.upstream.unreachable = True
            at.upstream.drop(phone.ticket.user)
        leave(at, phone)
        del phone
        await at.pass_time(GONE_S)
        assert traces.there == []


async def test_whose_session_the_server_ended_is_gone() -> None:
    async with scene(SETTINGS) as at:
        phone = await at.served()
        other = await at.served(device="d2")
        traces = Traces(at, phone.ticket.user)
        await at.node.account.sessions(phone.ticket)
        await at.node.account.end(other.ticket, phone.ticket.session)
        await at.node.account.end(other.ticket, other.ticket.session)
        await at.clock.settle()
        for line in (phone, other):
            leave(at, line)
        del phone, other, line
        await at.pass_time(GONE_S)
        assert traces.there == []


async def test_whom_a_server_that_is_away_could_not_log_off_leaves_nothing_but_that() -> None:
    async with scene(SETTINGS) as at:
        phone = await at.served()
        traces = Traces(at, phone.ticket.user)
        at.upstream.unreachable = True
        await at.node.account.log_off(phone.ticket)
        leave(at, phone)
        del phone
        await at.pass_time(GONE_S)
        assert traces.there == ["ticket"], "it is retried"
        at.upstream.unreachable = False
        await at.pass_time(120)
        assert traces.there == []


async def test_who_was_followed_from_another_node_is_gone_there_and_then_at_the_owner() -> None:
    async with open_nodes(linger=SETTINGS.linger) as at:
        here, there = at.scenes
        phone = await here.served()
        other = await there.served(device="d2")
        await at.pass_time(2)
        user_state = there.node.user_states[phone.ticket.user]
        follower = user_state.follower
        assert follower is not None
        followed = [ref(each) for each in (user_state, user_state.feed, user_state.feed.ledger, follower)]
        traces = Traces(here, phone.ticket.user)
        del user_state, follower
        leave(there, other)
        await at.pass_time(UNFOLLOW_S + 5)
        assert [each() for each in followed] == [None] * 4
        await here.node.account.log_off(phone.ticket)
        await there.node.account.log_off(other.ticket)
        leave(here, phone)
        del phone, other
        await at.pass_time(GONE_S)
        at.said.clear()
        assert traces.there == []


# ---- over a real link: the adapter and the simulator, over TCP ----


@asynccontextmanager
async def simulated(agents: int = 10, *, tls: bool = False) -> AsyncIterator[tuple[Scene, OsccServer]]:
    clock = SystemClock()
    settings = SimulatorSettings(
        agents=agents,
        queues=2,
        users=1,
        warm_up_s=0,
        start_paused=True,
        on_change=True,
        password="secret",
        tls=tls,
    )
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE  # the simulator signs for itself
    async with (
        Simulator(settings) as simulator,
        OsccServer(
            "main", simulator.url, clock, tls=trust, link_scheduler=LinkScheduler(clock, rest_s=0.002)
        ) as server,
    ):
        outside = (clock, server, SiteParts(server, server))
        at = Scene(SETTINGS_REAL, cast("tuple[ManualClock, FakeUpstream, SiteParts]", outside))
        async with asyncio.TaskGroup() as tasks:
            at.tasks = tasks
            running = tasks.create_task(at.node.run())
            yield at, server
            running.cancel()


async def until(holds: Callable[[], object], within_s: float) -> bool:
    """Wait until *holds*, and tell whether it did in time."""
    clock = SystemClock()
    end = clock.now() + within_s
    while not holds() and clock.now() < end:
        await clock.sleep(0.05)
    return bool(holds())


async def served(at: Scene) -> FakePhone:
    phone = await at.phone("agent10")
    phone.hello()
    assert await until(lambda: phone.health == "live" if phone.of_kind("ping") else False, 10)
    return phone


def drop_links(server: OsccServer) -> None:
    for socket in list(server._links_open):
        socket.abort()


@pytest.mark.parametrize(
    ("ending", "tls"),
    [
        ("log-off", False),
        ("linger", True),
        ("lost link", False),
        ("lost under way", False),
        ("lost under way", True),
    ],
)
async def test_over_a_real_link_who_is_gone_is_gone(ending: str, *, tls: bool) -> None:
    async with simulated(tls=tls) as (at, server):
        phone = await served(at)
        traces = Traces(at, phone.ticket.user)
        if ending.startswith("lost"):
            for turn in range(5 if ending == "lost under way" else 1):
                drop_links(server)
                phone.command(f"c{turn}", str(turn + 1))
                await SystemClock().sleep(0.05 * turn)
            assert await until(lambda: {"link", "connection", "socket"}.isdisjoint(traces.there), GIVE_UP_S)
        if ending != "linger":
            await at.node.account.log_off(phone.ticket)
        leave(at, phone)
        del phone
        assert await until(lambda: traces.there == [], LINGER_REAL_S + GIVE_UP_S), traces.there
