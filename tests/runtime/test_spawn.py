"""Tasks started beside a life that may be ending."""

from __future__ import annotations

import asyncio
import gc
import inspect
import itertools
import logging
import random  # noqa: TID251 - seeded by the test
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from weakref import ref

import pytest

from gateway.core.rate_limits import AdmissionQueue, Budget
from gateway.runtime.event_loop import (
    BEHIND_S,
    FRAMES_MAX,
    HELD_MAX_S,
    PROCESS_BUDGET_S,
    REST_S,
    LeanEvent,
    LinkScheduler,
    SystemClock,
    first_of,
    frames,
    log_fault,
    raise_if_cancelled,
    spawn,
)
from gateway.runtime.link_session import OnDemandTasks
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import beside


async def test_work_runs_in_the_group() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("work")

    async with asyncio.TaskGroup() as tasks:
        assert spawn(tasks, work())
    assert done == ["work"]


async def test_in_a_group_that_is_over_or_ending_nothing_runs() -> None:
    begun: list[bool] = []

    async def work() -> None:
        raise AssertionError

    async def linger(tasks: asyncio.TaskGroup) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            begun.append(spawn(tasks, work()))

    group = asyncio.TaskGroup()
    with pytest.raises(ExceptionGroup):
        await _end(group, linger)
    assert begun == [False]
    assert not spawn(group, work())


async def _end(
    group: asyncio.TaskGroup, linger: Callable[[asyncio.TaskGroup], Coroutine[None, None, None]]
) -> None:
    async with group as tasks:
        tasks.create_task(linger(tasks))
        await asyncio.sleep(0)
        raise ZeroDivisionError


class TaskOwner(OnDemandTasks):
    """The owner of tasks, which keeps what they raised."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        super().__init__(group)
        self.faults: list[Exception] = []

    def failed(self, fault: Exception) -> None:
        self.faults.append(fault)


async def test_own_tasks_end_together_and_their_faults_stay_with_their_owner() -> None:
    ended: list[str] = []

    async def fail() -> None:
        raise ZeroDivisionError

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("wait")

    async with asyncio.TaskGroup() as tasks:
        owner = TaskOwner(tasks)
        for work in (fail(), wait()):
            assert spawn(owner, work)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [type(each) for each in owner.faults] == [ZeroDivisionError]
        assert ended == []
        unbegun = wait()
        assert inspect.getcoroutinestate(unbegun) == inspect.CORO_CREATED
        assert spawn(owner, unbegun)
        await owner.end_tasks(at_once=True)
        assert ended == ["wait"]
        assert inspect.getcoroutinestate(unbegun) == inspect.CORO_CLOSED, "although it never began"
        assert not spawn(owner, wait())


@pytest.mark.filterwarnings("error")
async def test_own_tasks_that_a_cancelled_group_does_not_run_leave_no_coroutine_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[bool] = []
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)

    async def wait() -> None:
        await asyncio.Event().wait()

    async def begin_at_the_end(owner: TaskOwner) -> None:
        try:
            await wait()
        finally:
            begun.append(spawn(owner, wait()))

    async def serve() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(begin_at_the_end(TaskOwner(tasks)))
            await wait()

    async with asyncio.TaskGroup() as group:
        serving = group.create_task(serve())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        serving.cancel()
    gc.collect()
    assert begun == [False]
    assert ignored == []


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_own_tasks_may_finish_their_work_unless_their_owner_is_cancelled(*, is_cancelled: bool) -> None:
    may_end, ended = asyncio.Event(), []

    async def wait() -> None:
        await may_end.wait()
        ended.append("wait")

    async with asyncio.TaskGroup() as tasks:
        owner = TaskOwner(tasks)
        owner.create_task(wait())
        ending = tasks.create_task(owner.end_tasks(at_once=False))
        await asyncio.sleep(0)
        if is_cancelled:
            ending.cancel()
            await asyncio.wait([ending])
        may_end.set()
    assert ending.cancelled() == is_cancelled
    assert ended == ([] if is_cancelled else ["wait"])


async def test_a_cancellation_that_a_group_swallows_is_gone_on_with() -> None:
    is_ending, may_end = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            is_ending.set()
            await may_end.wait()

    async def life() -> None:
        try:
            async with beside(slow_to_end()):
                await asyncio.sleep(0)
                [].pop()
        except* IndexError:
            pass
        raise_if_cancelled()
        raise AssertionError("it lives on")

    async with beside(life()) as living:
        await is_ending.wait()
        living.cancel()
        await asyncio.sleep(0)
        may_end.set()
    assert living.cancelled()


async def until_set(event: LeanEvent) -> None:
    await event.wait()


async def test_a_lean_event_wakes_all_that_wait_and_lets_those_pass_that_come_later() -> None:
    event, passed = LeanEvent(), list[int]()

    async def wait(number: int) -> None:
        await event.wait()
        passed.append(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(2):
            tasks.create_task(wait(number))
        await asyncio.sleep(0)
        assert (passed, event.is_set()) == ([], False)
        event.set()
    await wait(2)
    assert (passed, event.is_set()) == ([0, 1, 2], True)


async def test_a_lean_event_that_was_cleared_is_waited_for_again_and_a_cancelled_wait_keeps_no_other() -> (
    None
):
    event = LeanEvent()
    event.set()
    event.clear()
    async with beside(until_set(event)) as waiting:
        await asyncio.sleep(0)
        assert not waiting.done()
        event.set()
        event.clear()  # who waited is woken, all the same
    event = LeanEvent()
    async with asyncio.TaskGroup() as tasks:
        gone, stays = (tasks.create_task(until_set(event)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        event.set()
    assert (gone.cancelled(), stays.cancelled()) == (True, False)


async def test_cancelled_waits_for_a_lean_event_are_forgotten() -> None:
    event = LeanEvent()
    gone = event.wait()
    gone.cancel()
    left = ref(gone)
    del gone
    stays = event.wait()
    assert left() is None
    event.set()
    assert stays.done()
    event = LeanEvent()
    stays = event.wait()
    short = [event.wait()]
    cancelled = [ref(short[0])]
    for _ in range(100):
        short.pop().cancel()
        short.append(event.wait())
        cancelled.append(ref(short[0]))
    assert sum(each() is not None for each in cancelled) <= 3
    event.set()
    assert stays.done()


# ---- system clock ----


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="the system has no such clock")
def test_time_goes_on_while_the_machine_is_suspended() -> None:
    """No test can suspend its machine: which clock is read decides it."""
    assert vars(SystemClock)["now"].__func__.args == (time.CLOCK_BOOTTIME,)


# ---- faults in the log, without secrets ----


LOG = logging.getLogger("gateway.test")


def _fail(text: str) -> Exception:
    try:
        raise ValueError(text)  # noqa: TRY301 - the place is what is tested
    except ValueError as fault:
        return fault


class Broken(Budget):
    """A budget that fails deep inside the gateway."""

    def log_on_wait_s(self, now: float, *, is_likely: bool = False) -> float:
        raise ValueError("secret-0815")


def _inside() -> Exception:
    try:
        AdmissionQueue(Broken()).log_on_wait_s(0.0)
    except ValueError as fault:
        return fault
    raise AssertionError


def _deep(depth: int) -> Exception:
    def descend(left: int) -> None:
        if not left:
            raise ValueError
        descend(left - 1)

    code = compile(
        "def down(n, f):\n    f() if not n else down(n - 1, f)\n", log_fault.__code__.co_filename, "exec"
    )
    names: dict[str, object] = {}
    exec(code, names)  # noqa: S102 - frames that look like the gateway's own
    try:
        names["down"](depth, lambda: descend(0))  # type: ignore[operator]  # made just above
    except ValueError as fault:
        return fault
    raise AssertionError


def test_all_frames_inside_the_gateway_are_shown_and_the_innermost_wherever_it_is() -> None:
    shown = (frames(_inside()) or "").split(" < ")
    assert [part.rpartition(":")[0].rpartition(":")[0] for part in shown] == [
        "tests/runtime/test_spawn.py",
        "gateway/core/rate_limits.py",
    ]
    assert [part.rpartition(":")[2] for part in shown] == ["log_on_wait_s", "log_on_wait_s"]
    assert (
        shown[0]
        == f"tests/runtime/test_spawn.py:{Broken.log_on_wait_s.__code__.co_firstlineno + 1}:log_on_wait_s"
    )


def test_a_fault_is_logged_by_type_and_frames_never_by_its_text(caplog: pytest.LogCaptureFixture) -> None:
    log_fault(LOG, "it_failed", _inside())
    (record,) = caplog.records
    assert record.getMessage() == "it_failed"
    assert vars(record)["error"] == "ValueError"
    assert vars(record)["place"] == frames(_inside())
    assert record.exc_info is None
    assert "secret" not in str(vars(record))


def test_of_a_group_the_first_fault_is_shown_and_of_a_recursion_the_innermost_frames() -> None:
    inner = _fail("secret-0815")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [inner, KeyError("b")]), TypeError("c")])
    assert first_of(group) is inner
    assert len((frames(_deep(100)) or "").split(" < ")) == FRAMES_MAX


# ---- budgets of links ----


EACH_TURN = 8


class Link:
    """Processes its data, which takes time, and may want to again."""

    def __init__(self, name: int, clock: ManualClock, log: list[int], cost_s: float = 0.0) -> None:
        self.name = name
        self.is_due = False
        self.held_at: float | None = None
        self.scheduler: LinkScheduler | None = None
        self.fault: Exception | None = None
        self.is_aborted = False
        self.processed = asyncio.Event()
        self._clock, self._log, self._cost_s = clock, log, cost_s

    def process_received(self) -> None:
        if self.fault is not None:
            raise self.fault
        self.held_at = None
        self._clock.stand_still(self._cost_s)
        self._log.append(self.name)
        self.processed.set()
        if self.scheduler is not None:
            self.scheduler.schedule(self)

    def abort(self) -> None:
        self.is_aborted = True


async def test_who_wants_a_turn_several_times_has_one() -> None:
    clock, log = ManualClock(), list[int]()
    scheduler, link = LinkScheduler(clock), Link(1, clock, log)
    scheduler.schedule(link)
    scheduler.schedule(link)
    assert log == []
    await clock.settle()
    assert log == [1]
    scheduler.schedule(link)
    await clock.settle()
    assert log == [1, 1]


async def test_a_turn_ends_with_its_budget_and_the_next_begins_where_it_ended() -> None:
    clock, log = ManualClock(), list[int]()
    scheduler = LinkScheduler(clock)
    links = [
        Link(name, clock, log, cost_s=PROCESS_BUDGET_S / (EACH_TURN - 0.5)) for name in range(3 * EACH_TURN)
    ]
    for link in links:
        scheduler.schedule(link)
    await asyncio.sleep(0)
    assert log == list(range(EACH_TURN))
    scheduler.schedule(links[0])
    await clock.settle()
    assert log == [*range(3 * EACH_TURN), 0]


READ = -1


def scheduler_that_logs(
    reading: int, log: list[int], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> LinkScheduler:
    """Return a scheduler that adds *reading* to *log* whenever it reads links, of which none is ready."""
    scheduler = LinkScheduler(clock)

    def serve() -> int:
        log.append(reading)
        return 0

    monkeypatch.setattr(scheduler.transports, "serve", serve)
    return scheduler


async def test_links_are_read_again_when_no_turn_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log = ManualClock(), list[int]()
    scheduler = scheduler_that_logs(READ, log, clock, monkeypatch)
    for name in range(3 * EACH_TURN):
        scheduler.schedule(Link(name, clock, log, cost_s=PROCESS_BUDGET_S / (EACH_TURN - 0.5)))
    await clock.settle()
    assert log == [READ, *range(2 * EACH_TURN), READ, *range(2 * EACH_TURN, 3 * EACH_TURN)]


async def test_who_always_wants_a_turn_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log = ManualClock(), list[int]()
    scheduler = scheduler_that_logs(READ, log, clock, monkeypatch)
    for name in range(10 * EACH_TURN):
        link = Link(name, clock, log, cost_s=PROCESS_BUDGET_S / (EACH_TURN - 0.5))
        link.scheduler = scheduler
        scheduler.schedule(link)
    for _ in range(100):
        await asyncio.sleep(0)
    reads = [at for at, name in enumerate(log) if name == READ]
    assert len(reads) >= 10
    assert max(after - at for at, after in itertools.pairwise(reads)) <= 10 * EACH_TURN + 1


async def test_others_run_between_two_turns_of_who_always_wants_one() -> None:
    clock, log = ManualClock(), list[int]()
    scheduler, link = LinkScheduler(clock), Link(1, clock, log)
    link.scheduler = scheduler
    scheduler.schedule(link)
    for _ in range(10):
        await asyncio.sleep(0)
        log.append(0)
    link.scheduler = None
    assert 1 in log
    assert (1, 1) not in set(itertools.pairwise(log))


async def test_a_fault_ends_one_link() -> None:
    clock, log = ManualClock(), list[int]()
    scheduler, bad, good = LinkScheduler(clock), Link(1, clock, log), Link(2, clock, log)
    bad.fault = LookupError("its own")
    scheduler.schedule(bad)
    scheduler.schedule(good)
    await clock.settle()
    assert (bad.is_aborted, good.is_aborted, log) == (True, False, [2])


async def test_a_node_is_overloaded_that_has_not_kept_up_for_long_and_no_more_once_it_does() -> None:
    clock, log = ManualClock(), list[int]()
    scheduler = LinkScheduler(clock)
    links = [Link(name, clock, log, cost_s=PROCESS_BUDGET_S) for name in range(2 * EACH_TURN)]
    for link in links:
        link.scheduler = scheduler
        scheduler.schedule(link)
    seen: list[bool] = []
    while not seen or (not seen[-1] and len(seen) < 1000):
        await asyncio.sleep(0)
        seen.append(scheduler.is_overloaded)
    assert clock.now() - 1_000 >= BEHIND_S
    assert len(seen) > BEHIND_S / PROCESS_BUDGET_S / EACH_TURN / 2
    assert scheduler.behind_s >= BEHIND_S
    for link in links:
        link.scheduler = None
    await clock.settle()
    assert (scheduler.is_overloaded, scheduler.behind_s) == (False, 0.0)


@pytest.mark.parametrize(("links", "least_s", "most_s"), [(4, 0.0, 0.2), (400, 1.0, 5.0)])
async def test_how_long_messages_wait_is_known_by_a_round(links: int, least_s: float, most_s: float) -> None:
    clock, log = ManualClock(), list[int]()
    scheduler = LinkScheduler(clock)
    for name in range(links):
        link = Link(name, clock, log, cost_s=PROCESS_BUDGET_S)
        link.scheduler = scheduler
        scheduler.schedule(link)
    assert scheduler.unread_s == 0.0
    seen: list[float] = []
    while clock.now() - 1_000 < 20.0:
        await asyncio.sleep(0)
        seen.append(scheduler.unread_s)
    assert scheduler.is_overloaded
    settled = seen[len(seen) // 2 :]
    assert least_s <= min(settled)
    assert max(settled) <= most_s + 2 * links * PROCESS_BUDGET_S


class Fed(Link):
    """Remembers when its messages came."""

    def __init__(self, clock: ManualClock, chance: random.Random) -> None:
        super().__init__(0, clock, [])
        self._chance = chance
        self.unread: list[float] = []
        self.undigested: list[float] = []

    def process_received(self) -> None:
        self.undigested.clear()
        self._clock.stand_still(self._chance.random() * PROCESS_BUDGET_S / 2)


@pytest.mark.parametrize("part", [0.1, 0.3, 1.0])
async def test_the_time_that_a_message_waits_is_counted_from_its_arrival_and_not_from_its_reading(
    part: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, chance = ManualClock(), random.Random(1)
    scheduler, links = LinkScheduler(clock), [Fed(clock, chance) for _ in range(10 * EACH_TURN)]
    monkeypatch.setattr(scheduler.transports, "_open", len(links))

    def serve() -> int:
        ready = [link for link in links if link.unread]
        for link in ready:
            link.undigested += link.unread
            link.unread.clear()
            scheduler.schedule(link)
        scheduler.transports.served += len(ready)
        return 1

    monkeypatch.setattr(scheduler.transports, "serve", serve)
    monkeypatch.setattr(scheduler.transports, "watch_all", lambda: None)
    longest_s = 0.0
    for _ in range(300):
        for link in links:
            if chance.random() < part:
                link.unread.append(clock.now())
        if not scheduler.is_planned:
            scheduler.plan_turn()
        await asyncio.sleep(0)
        waiting = [at for link in links for at in link.undigested + link.unread]
        if scheduler.behind_s:
            oldest_s = clock.now() - min(waiting, default=clock.now())
            longest_s = max(longest_s, oldest_s)
            assert oldest_s <= scheduler.unread_s + 1e-9
    assert longest_s > 3 * PROCESS_BUDGET_S


@pytest.mark.parametrize(("links", "pauses"), [(1, 1), (3, 1), (4, 2), (31, 2), (32, 1), (100, 1)])
async def test_after_a_turn_of_several_links_it_rests_longer(
    links: int, pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, rests = ManualClock(), list[float]()
    scheduler = LinkScheduler(clock, rest_s=0.05)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "call_later", lambda delay_s, *_: rests.append(delay_s))
    for name in range(links):
        scheduler.schedule(Link(name, clock, []))
    await asyncio.sleep(0)
    assert rests == [pauses * 0.05]


async def test_after_a_turn_without_work_it_waits_for_links(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rests = ManualClock(), list[Callable[[], None]]()
    scheduler = LinkScheduler(clock, rest_s=0.05)
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda _, turn: rests.append(turn))
    scheduler.schedule(Link(1, clock, []))
    await asyncio.sleep(0)
    assert (len(rests), scheduler.is_planned) == (1, True)
    rests.pop()()
    assert (rests, scheduler.is_planned) == ([], False)


class Timers:
    """The timers of the running loop, which the test ends itself."""

    def __init__(self, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.delays_s: list[float] = []
        self._clock = clock
        self._ends: list[Callable[[], None]] = []
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", self._begin)

    def _begin(self, delay_s: float, end: Callable[..., None], *args: object) -> None:
        self.delays_s.append(delay_s)
        self._ends.append(partial(end, *args))

    async def end_next(self) -> None:
        """Let the time of the next timer pass."""
        self._clock.stand_still(self.delays_s.pop(0))
        self._ends.pop(0)()
        await self._clock.settle()


@pytest.mark.parametrize(("wait_s", "waits_s"), [(0.05, 0.05), (5.0, HELD_MAX_S)])
async def test_held_links_process_once_at_their_time_or_after_the_longest(
    wait_s: float, waits_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, log = ManualClock(), list[int]()
    scheduler, timers = LinkScheduler(clock), Timers(clock, monkeypatch)
    links = [Link(name, clock, log) for name in (1, 2)]
    for link in links:
        scheduler.schedule_at(link, clock.now() + wait_s)
        assert link.held_at == clock.now()
    await clock.settle()
    assert log == []
    (delay_s,) = timers.delays_s
    assert waits_s < delay_s <= waits_s + 2 * REST_S
    await timers.end_next()
    assert log == [1, 2]


async def test_a_link_is_not_held_until_a_time_that_has_passed() -> None:
    clock, log = ManualClock(), list[int]()
    scheduler, link = LinkScheduler(clock), Link(1, clock, log)
    scheduler.schedule_at(link, clock.now())
    assert link.held_at is None
    await clock.settle()
    assert log == [1]


async def test_a_held_link_that_wants_earlier_has_no_second_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, log = ManualClock(), list[int]()
    scheduler, link, timers = LinkScheduler(clock), Link(1, clock, log), Timers(clock, monkeypatch)
    scheduler.schedule_at(link, clock.now() + 0.05)
    scheduler.schedule(link)
    await clock.settle()
    assert log == [1]
    await timers.end_next()
    assert log == [1]


async def test_after_a_turn_that_did_all_it_rests() -> None:
    clock, log = ManualClock(), list[int]()
    scheduler, link = LinkScheduler(clock, rest_s=0.05), Link(1, clock, log)
    scheduler.schedule(link)
    await asyncio.sleep(0)
    scheduler.schedule(link)
    for _ in range(20):
        await asyncio.sleep(0)
    assert log == [1]
    link.processed.clear()
    async with asyncio.timeout(5):
        await link.processed.wait()
    assert log == [1, 1]
