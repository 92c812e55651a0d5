"""Log-ons of one name at the same instant, on several nodes with one Redis."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from gateway.core.rate_limits import AdmissionQueue, Budget, Quota
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Device
from gateway.domain.upstream import LoggedOn, LogOn
from gateway.runtime import accounts
from gateway.runtime.accounts import LogOns
from gateway.runtime.event_loop import SystemClock
from gateway.runtime.sessions import OtherNodes
from tests.contracts.buses import SITES, BusSite
from tests.doubles.fake_upstream import FakeUpstream
from tests.doubles.tasks import beside

NODES = 4


class SlowCentre(FakeUpstream):
    """OSCC-E, which takes a while to answer."""

    def __init__(self, clock: SystemClock) -> None:
        super().__init__(clock)
        self.asked = 0
        self.asked_right, self.answers_right = asyncio.Event(), asyncio.Event()
        self.answers_right.set()
        self._clock_of_answers = clock

    async def log_on(self, credentials: LogOn) -> LoggedOn:
        self.asked += 1
        await self._clock_of_answers.sleep(0.05)
        if credentials.password == "secret":
            self.asked_right.set()
            await self.answers_right.wait()
        return await super().log_on(credentials)


class Scene:
    """Nodes before one OSCC-E Server."""

    def __init__(self, site: BusSite) -> None:
        self.centre = SlowCentre(SystemClock())
        self.centre.add_user(1, "anna")
        self.ended: list[ErrorCode | None] = []
        """How log-ons have ended so far."""
        self.nodes = [
            LogOns(
                {"main": AdmissionQueue(Budget(rate_per_s=200.0, burst=200.0, in_flight_max=200))},
                SystemClock(),
                OtherNodes(store, f"n{at}", lambda: [f"n{each}" for each in range(NODES)]),
                Quota(most=3, window_s=3600.0),
            )
            for at, store in enumerate(site.stores * (NODES // 2))
        ]

    async def at_once(self, password: str, addresses: int, each: int) -> Counter[ErrorCode | None]:
        """Log on as anna from each address *each* times at every node; returns how that ended."""

        async def code(node: LogOns, address: int, number: int) -> ErrorCode | None:
            device = Device(f"d{address}{number}", "Phone")
            credentials = LogOn(Application.DASHBOARD, "anna", password, device)
            try:
                await node.log_on(self.centre, "main", credentials, f"192.0.2.{address}")
            except GatewayError as error:
                self.ended.append(error.code)
            else:
                self.ended.append(None)
            return self.ended[-1]

        async with asyncio.TaskGroup() as tasks:
            places = itertools.product(self.nodes, range(addresses), range(each))
            tries = [tasks.create_task(code(*place)) for place in places]
        return Counter(each.result() for each in tries)


@pytest.fixture(params=["redis", "redis_cluster"])
async def scene(request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    async with SITES[request.param]() as site:
        yield Scene(site)


async def test_wrong_passwords_of_several_nodes_at_once_are_no_more_than_one_node_allows(
    scene: Scene,
) -> None:
    codes = await scene.at_once("wrong", addresses=2, each=4)
    assert scene.centre.asked == codes[ErrorCode.INVALID_CREDENTIALS] == 4
    assert codes[ErrorCode.ACCOUNT_LOCKED] == 2 * 4 * NODES - 4
    await scene.at_once("wrong", addresses=2, each=1)
    assert scene.centre.asked == 4


async def test_who_waits_too_long_for_others_of_the_name_is_not_locked_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "_RESERVED_WAIT_S", 1.5)
    scene.centre.answers_right.clear()
    async with beside(scene.at_once("secret", addresses=4, each=2)):
        while len(scene.ended) < 8 * NODES - 4:
            await SystemClock().sleep(0.01)
        assert (scene.centre.asked, set(scene.ended)) == (4, {ErrorCode.RATE_LIMITED})
        scene.centre.answers_right.set()
    assert Counter(scene.ended) == {None: 4, ErrorCode.RATE_LIMITED: 8 * NODES - 4}


async def test_one_address_leaves_a_try_to_others_also_at_several_nodes_at_once(scene: Scene) -> None:
    await scene.at_once("wrong", addresses=1, each=4)
    assert scene.centre.asked == 3


async def test_a_user_with_many_devices_logs_on_with_all_of_them_at_once(scene: Scene) -> None:
    assert await scene.at_once("secret", addresses=1, each=3) == {None: 3 * NODES}
    assert [node.sizes["log_on_reservations"] for node in scene.nodes] == [0] * NODES


async def test_a_right_password_forgets_no_wrong_one_that_another_node_shows_beside_it(scene: Scene) -> None:
    one, *others = scene.nodes
    scene.nodes = [one]
    await scene.at_once("wrong", addresses=1, each=1)
    scene.centre.answers_right.clear()
    async with beside(scene.at_once("secret", addresses=1, each=1)):
        await scene.centre.asked_right.wait()
        scene.nodes = others[:1]
        await scene.at_once("wrong", addresses=1, each=1)
        scene.centre.answers_right.set()
    scene.nodes = [one, *others]
    codes = await scene.at_once("wrong", addresses=2, each=4)
    assert codes[ErrorCode.INVALID_CREDENTIALS] == 2


async def test_log_ons_with_numbers_at_several_nodes_at_once_change_it_no_more_often(scene: Scene) -> None:
    scene.centre.add_user(2, "bert", own_agent=2)
    codes: list[ErrorCode | None] = []

    async def log_on(node: LogOns, last: int) -> None:
        device = Device(f"d{last}", "Phone")
        number = f"+4930123456{last}"
        credentials = LogOn(Application.REMOTE_ASSISTANT, "bert", "secret", device, number, takeover=True)
        try:
            await node.log_on(scene.centre, "main", credentials, f"192.0.2.{last}")
        except GatewayError as error:
            codes.append(error.code)
        else:
            codes.append(None)

    for last in range(3):
        await log_on(scene.nodes[last], last)
    async with asyncio.TaskGroup() as tasks:
        for last in range(3, 7):
            tasks.create_task(log_on(scene.nodes[last % NODES], last))
    assert Counter(codes) == {None: 4, ErrorCode.RATE_LIMITED: 3}
