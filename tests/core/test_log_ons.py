"""Log-ons at a site: their order, limits of an address and of a name, and when refused ones come back."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from gateway.core.log_ons import (
    FAILED,
    PATIENCE_S,
    SHARE,
    WRONG_KEPT_S,
    Decaying,
    Judged,
    LogOnGuard,
    LogOnPlace,
    LogOnQueue,
    name_hash,
)
from gateway.core.rate_limits import AdmissionQueue, Budget, Urgency


def queue(
    per_s: float = 20.0, *, addresses_max: int = 10_000, appointments_max: int = 10_000, in_flight: int = 32
) -> LogOnQueue:
    admission_queue = AdmissionQueue(Budget(rate_per_s=per_s, burst=per_s, in_flight_max=in_flight))
    return LogOnQueue(admission_queue, addresses_max=addresses_max, appointments_max=appointments_max)


def join(line: LogOnQueue, name: str, address: str = "a", now: float = 0.0, **how: bool) -> LogOnPlace:
    return line.join(name.encode(), address, now, lambda: None, **how)


def come_to(line: LogOnQueue, result: Judged, address: str, now: float, times: int = 1) -> int:
    """Log on one after the other; returns how many were admitted at once."""
    admitted = 0
    for number in range(times):
        place = join(line, f"{address}-{now}-{number}", address, now)
        if place.refused_s is None and line.enter(place, now):
            line.judged(place, result, now)
            admitted += 1
        else:
            line.withdraw(place, now)
    return admitted


# ---- what no longer counts ----


@pytest.mark.parametrize(("result", "after_s"), [("right", 600.0), ("wrong", 60.0)])
def test_an_address_is_removed_once_its_log_ons_no_longer_count(result: Judged, after_s: float) -> None:
    line = queue()
    come_to(line, result, "a", 0.0)
    line.prune(after_s - 1.0)
    assert line.addresses == 1
    line.prune(after_s)
    assert line.addresses == 0


def test_addresses_and_names_stay_while_a_log_on_is_under_way() -> None:
    line = queue()
    place = join(line, "ann")
    line.prune(1e6)
    assert line.addresses == 1
    line.withdraw(place, 1e6)
    line.prune(1e6)
    assert line.addresses == 0
    guard = LogOnGuard()
    guard.trying(name_hash("main", "ann"))
    guard.failed(name_hash("main", "ann"), 10.0)
    guard.trying(name_hash("main", "bob"))
    guard.prune(10.0 + WRONG_KEPT_S - 1.0)
    assert len(guard) == 2
    guard.prune(10.0 + WRONG_KEPT_S)
    assert len(guard) == 1, "a try that is under way stays"


# ---- order ----


def test_log_ons_enter_at_once_while_there_is_room_and_leave_links_their_turn() -> None:
    line = queue()
    place = join(line, "ann")
    assert line.enter(place, 0.0)
    line.judged(place, "right", 0.0)
    assert (len(line), line.addresses, line.appointments) == (0, 1, 0)
    admission_queue = AdmissionQueue(Budget(rate_per_s=20.0, burst=20.0))
    line = LogOnQueue(admission_queue)
    waiting = admission_queue.join(Urgency.PERSON, lambda: None)
    place = join(line, "ann")
    assert not line.enter(place, 0.0)
    assert admission_queue.enter(waiting, 0.0)
    assert line.enter(place, 0.0)


def test_addresses_have_their_turns_one_after_the_other_and_in_each_the_oldest_first() -> None:
    line = queue(2.0, in_flight=1_000)
    assert line.enter(join(line, "first"), 0.0)
    line = queue(8.0, in_flight=1_000)
    for number in range(4):
        assert line.enter(join(line, f"first{number}", "x"), 0.0)
    crowd = [join(line, f"a{number}") for number in range(3)]
    single = join(line, "b", "b", 0.1)
    order = []
    for step in range(1, 5):
        now = step * 0.25
        order += [place for place in (*crowd, single) if line.enter(place, now)]
    assert order == [crowd[0], single, crowd[1], crowd[2]]


def test_right_passwords_and_trusted_devices_come_first() -> None:
    line = queue(4.0)
    assert come_to(line, "wrong", "guesser", 0.0, 2) == 2
    old, new = join(line, "old", "guesser", 0.1), join(line, "new", "office", 0.2)
    assert not line.enter(old, 0.5)
    assert line.enter(new, 0.5)
    line.judged(new, "right", 0.6)
    assert line.enter(old, 1.0)
    line = queue(200.0)
    assert come_to(line, "wrong", "a", 0.0, int(FAILED)) == FAILED
    assert join(line, "stranger").refused_s is not None
    own = join(line, "own", is_trusted=True)
    assert own.refused_s is None
    assert line.enter(own, 0.0)


def test_the_new_first_of_the_queue_is_woken() -> None:
    line, woken = queue(4.0), list[str]()
    assert come_to(line, "right", "a", 0.0, 2) == 2

    def waits(name: str) -> LogOnPlace:
        return line.join(name.encode(), name, 0.0, lambda: woken.append(name))

    first, second, third = waits("first"), waits("second"), waits("third")
    assert not line.enter(first, 0.0)
    assert (line.wait_s(first, 0.0), line.wait_s(second, 0.0)) == (0.5, math.inf)
    line.withdraw(first, 0.1)
    assert woken == ["second"]
    assert line.enter(second, 0.5)
    assert woken == ["second", "third"]
    line.give_up(third, 0.6)
    assert third.refused_s is not None
    assert len(line) == 0


# ---- one address ----


def test_wrong_passwords_of_an_address_are_limited_and_right_ones_raise_the_limit() -> None:
    stranger, office = queue(2_000.0), queue(2_000.0)
    assert come_to(stranger, "wrong", "a", 0.0, 100) == 20
    assert come_to(stranger, "wrong", "a", 3_600.0, 100) == 20
    for second in range(30):
        assert come_to(office, "right", "a", second, 2) == 2
    assert come_to(office, "wrong", "a", 60.0, 20) == 20
    assert come_to(office, "wrong", "a", 90.0, 20) == 20, "a stranger has 20 an hour"
    stranger = queue(2_000.0)
    day = sum(come_to(stranger, "wrong", "b", 10.0 * tick, 5) for tick in range(8_640))
    assert day == pytest.approx(20 + 1_440, abs=2)


def test_an_address_without_success_has_a_share_and_what_is_refused_comes_back_one_by_one() -> None:
    line = queue(2_000.0)
    assert come_to(line, "refused", "a", 0.0, 100) == SHARE
    assert come_to(line, "refused", "a", 10.0, 100) == 10
    assert come_to(line, "right", "b", 10.0, 100) == 100
    assert come_to(line, "unjudged", "c", 10.0, 100) == 100
    line = queue(2_000.0)
    come_to(line, "refused", "a", 0.0, int(SHARE))
    waits = [join(line, f"x{number}").refused_s for number in range(3)]
    assert waits == [1.0, 2.0, 3.0]


def test_what_waits_of_an_address_that_failed_too_often_is_refused_at_once() -> None:
    line, woken = queue(50.0, in_flight=1_000), list[str]()
    places = [join(line, f"w{number}") for number in range(20)]
    assert all(line.enter(place, 0.0) for place in places)
    waiting = line.join(b"late", "a", 0.0, lambda: woken.append("late"))
    assert waiting.refused_s is not None, "20 are open without success"
    other = queue(50.0, in_flight=1_000)
    places = [join(other, f"w{number}", now=0.0) for number in range(19)]
    assert all(other.enter(place, 0.0) for place in places)
    come_to(other, "right", "b", 0.0, 6)
    waiting = other.join(b"late", "a", 0.0, lambda: woken.append("late"))
    for place in places:
        other.judged(place, "wrong", 0.0)
    assert waiting.refused_s is None
    come_to(other, "wrong", "a", 0.04, 1)
    assert other.enter(waiting, 0.04) or waiting.refused_s is not None


def test_memory_is_bounded_and_an_address_that_decides_like_a_new_one_goes_first() -> None:
    line = queue(2_000.0, addresses_max=2, appointments_max=3)
    assert come_to(line, "wrong", "bad", 0.0, int(FAILED)) == FAILED
    come_to(line, "right", "good", 0.0)
    come_to(line, "right", "new", 0.0)
    assert line.addresses == 2
    assert join(line, "x", "bad").refused_s is not None
    slow = queue(2.0, appointments_max=3)
    for number in range(20):
        join(slow, f"n{number}", f"a{number}")
    assert slow.appointments == 3


# ---- appointments ----


def test_who_comes_too_early_keeps_the_appointment_and_who_comes_in_time_comes_first() -> None:
    line = queue(2.0)
    assert come_to(line, "right", "z", 0.0) == 1
    waiting = [join(line, f"w{number}", f"w{number}") for number in range(2)]
    late = join(line, "late", "late")
    assert late.refused_s == 3.0
    assert join(line, "late", "late", 1.0).refused_s == 2.0
    for step, place in enumerate(waiting, 1):
        assert line.enter(place, step)
        line.judged(place, "right", step)
    new = join(line, "new", "new", 2.9)
    due = join(line, "late", "late", 3.0)
    assert not line.enter(new, 3.0)
    assert line.enter(due, 3.0)


def test_appointments_are_spread_and_a_flood_moves_only_its_own() -> None:
    line = queue(2.0)
    waits = [join(line, f"n{number}", f"a{number}").refused_s for number in range(1_000)]
    received = [wait_s for wait_s in waits if wait_s is not None]
    assert max(received) <= 300.0
    assert max(Counter(round(wait_s) for wait_s in received[400:]).values()) < 20
    line = queue(20.0)
    for number in range(500):
        join(line, f"f{number}", "flood")
    honest = join(line, "ann", "office", 0.1)
    if honest.refused_s is not None:
        assert honest.refused_s < 5.0


# ---- crowds, simulated ----


@dataclass
class Client:
    """Somebody who logs on, and comes back when it may; its header has whole seconds."""

    name: str
    address: str
    result: Judged = "right"
    every_s: float | None = None
    """It does not listen, and comes so often."""
    refusals: int = 0
    in_at: float | None = None


@dataclass
class Crowd:
    """Log-ons at one site: each takes OSCC-E *takes_s*, and a link after it."""

    line: LogOnQueue
    admission_queue: AdmissionQueue
    takes_s: float = 0.1
    now: float = 0.0
    links_at: list[float] = field(default_factory=list)
    lost_at: list[float] = field(default_factory=list)
    """Of them, when those were opened again that had been lost."""
    connects: bool = True
    """Whether each person whose log-on succeeds needs a link at once."""
    _agenda: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def at(self, when: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (when, next(self._numbers), act))

    def run(self, until: float) -> None:
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, act = heapq.heappop(self._agenda)
            act()
        self.now = until

    def arrive(self, client: Client, when: float) -> None:
        self.at(when, lambda: self._knock(client))

    def link(self, urgency: Urgency, when: float) -> None:

        def begin() -> None:
            place = self.admission_queue.join(urgency, lambda: self.at(self.now, enter))

            def enter() -> None:
                if place.gone:
                    return
                if self.admission_queue.enter(place, self.now):
                    self.links_at.append(self.now)
                    if urgency is Urgency.REOPENING:
                        self.lost_at.append(self.now)
                    self.at(self.now + 0.05, self.admission_queue.done)
                elif (wait_s := self.admission_queue.wait_s(place, self.now)) < math.inf:
                    self.at(self.now + max(wait_s, 0.001), enter)

            enter()

        self.at(when, begin)

    def _knock(self, client: Client) -> None:
        began = self.now
        place = self.line.join(
            client.name.encode(), client.address, began, lambda: self.at(self.now, lambda: look(first=False))
        )
        is_over = False

        def look(*, first: bool) -> None:
            nonlocal is_over
            if is_over:
                return
            if not first and self.now >= began + PATIENCE_S:
                self.line.give_up(place, self.now)
            is_over = place.refused_s is not None or self.line.enter(place, self.now)
            if place.refused_s is not None:
                self._refused(client, place.refused_s)
            elif is_over:
                self.at(self.now + self.takes_s, lambda: self._answered(client, place))

        def tick() -> None:
            look(first=False)
            if not is_over:
                self.at(self.now + 0.2, tick)

        look(first=True)
        tick()

    def _answered(self, client: Client, place: LogOnPlace) -> None:
        self.line.judged(place, client.result, self.now)
        if client.result == "right":
            client.in_at = self.now
            if self.connects:
                self.link(Urgency.PERSON, self.now)

    def _refused(self, client: Client, wait_s: float) -> None:
        client.refusals += 1
        if client.every_s is None:
            self.arrive(client, self.now + max(1, math.ceil(wait_s)))


def crowd(per_s: float = 20.0) -> Crowd:
    admission_queue = AdmissionQueue(Budget(rate_per_s=per_s, burst=per_s))
    return Crowd(LogOnQueue(admission_queue), admission_queue)


@pytest.mark.parametrize(
    ("addresses", "per_s", "within_s"),
    [(1, 20.0, 5.0), (1, 4.0, 0.0), (2, 20.0, 0.0), (7, 4.0, 5.0), (300, 20.0, 5.0), (300, 4.0, 0.0)],
)
def test_of_three_hundred_behind_one_budget_each_is_refused_at_most_twice(
    addresses: int, per_s: float, within_s: float
) -> None:
    at = crowd(per_s)
    people = [Client(f"p{number}", f"a{number % addresses}") for number in range(300)]
    for number, client in enumerate(people):
        at.arrive(client, within_s * number / 300)
    at.run(300 / (per_s / 2) * 1.5 + 10)
    assert [client.name for client in people if client.in_at is None] == []
    assert max(client.refusals for client in people) <= 2
    assert sum(client.refusals for client in people) <= 600


@pytest.mark.parametrize(
    ("addresses", "takes_s", "connects", "within_s"),
    [
        pytest.param(1, 0.5, True, 120, id="half of the budget"),
        pytest.param(3, 0.05, True, 120, id="half of the budget, of three addresses"),
        pytest.param(1, 0.05, False, 85, id="what links leave, as for Remote Assistants"),
        pytest.param(1, 0.5, False, 85, id="what links leave, of a slow server"),
    ],
)
def test_a_thousand_people_who_log_on_at_once_are_in_soon(
    addresses: int, takes_s: float, connects: bool, within_s: float
) -> None:
    at = crowd()
    at.takes_s, at.connects = takes_s, connects
    people = [Client(f"p{number}", f"a{number % addresses}") for number in range(1_000)]
    for number, client in enumerate(people):
        at.arrive(client, number / 1_000)
    at.run(within_s)
    assert [client.name for client in people if client.in_at is None] == []
    assert max(client.refusals for client in people) <= 2


def test_newcomers_do_not_overtake_those_who_have_appointments() -> None:
    at = crowd()
    people = [Client(f"p{number}", f"a{number}") for number in range(150)]
    for client in people:
        at.arrive(client, 0.0)
    late = [Client(f"l{number}", f"l{number}") for number in range(100)]
    for number, client in enumerate(late):
        at.arrive(client, 0.2 * number)
    at.run(60)
    assert max(client.refusals for client in people) <= 2
    assert all(client.in_at is not None for client in (*people, *late))


@pytest.mark.parametrize(
    ("head_start_s", "office"), [(0.0, True), (0.2, False), (1.0, True), (5.0, False), (60.0, True)]
)
def test_a_flood_of_wrong_passwords_holds_nobody_up(head_start_s: float, office: bool) -> None:
    at = crowd()
    for tick in range(int((head_start_s + 15) * 200)):
        guess = Client(f"g{tick}", f"bad{tick % 4}", "wrong", every_s=1.0)
        at.arrive(guess, tick / 200)
    people = [Client(f"p{number}", "office" if office else f"home{number}") for number in range(24)]
    for client in people:
        at.arrive(client, head_start_s)
    for _ in range(10):
        at.link(Urgency.REOPENING, head_start_s)
    at.run(head_start_s + 10)
    times = [math.inf if client.in_at is None else client.in_at - head_start_s for client in people]
    assert max(times) <= 10, times
    assert max(client.refusals for client in people) <= 2
    assert len(at.links_at) == len(at.lost_at) + len(people)
    assert max(at.lost_at) - head_start_s <= 2.0


def test_a_count_falls_by_itself() -> None:
    count = Decaying(0.5, 3.0)
    for _ in range(5):
        count.add(0.0)
    assert count.count(0.0) == 3.0
    assert count.count(2.0) == 2.0
    assert count.wait_s(2.0, 2.0) == 2.0
    count.add(2.0, -5.0)
    assert count.count(2.0) == 0.0
    assert count.wait_s(2.0, 1.0) == 0.0


# ---- wrong passwords of a name ----


SITE = "main"
ANN, BOB = name_hash(SITE, "ann"), name_hash(SITE, "bob")


def fail(guard: LogOnGuard, times: int, now: float, name: bytes = ANN) -> None:
    for _ in range(times):
        assert guard.locked_s(name, now) == 0.0
        guard.trying(name)
        guard.failed(name, now)


def test_a_name_is_locked_until_its_first_failure_is_old_and_free_after_a_day() -> None:
    guard = LogOnGuard()
    fail(guard, 2, 0.0)
    fail(guard, 1, 100.0)
    assert guard.locked_s(ANN, 300.0) == 600.0
    assert guard.locked_s(BOB, 300.0) == 0.0
    assert guard.locked_s(name_hash("other", "ann"), 300.0) == 0.0
    assert guard.locked_s(ANN, 900.0) == 0.0
    guard = LogOnGuard()
    for origin in "aaab":
        guard.failed(ANN, 0.0, origin)
    guard.failed(ANN, 86_399.0, "c")
    assert guard.locked_s(ANN, 86_399.0, "d") == 900.0
    assert guard.locked_s(ANN, 86_400.0, "d") == 0.0


SPELLINGS = (
    *(
        " Ann ",
        "ANN",
        "A\u200bnn",
        "a\u00adnn",
        "\u202dann",
        "\uff41nn",
        "ann\u3000",
        "a\ufe0fnn",
        "\U0001d41ann",
    ),
    *("ann\u034f", "\u115fann", "a\u2060n\u2061n"),
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_name_has_one_spelling(spelling: str) -> None:
    guard = LogOnGuard(tries=1)
    fail(guard, 1, 0.0)
    assert guard.locked_s(name_hash(SITE, spelling), 0.0) == 900.0


def test_blanks_inside_a_name_are_one() -> None:
    assert name_hash(SITE, "ann  \u2003 lee") == name_hash(SITE, "Ann Lee")
    assert len({name_hash(SITE, each) for each in ("ann lee", "annlee", "an nlee", "\u00e4nn")}) == 4


def test_an_origin_leaves_a_try_to_the_others_and_a_trusted_device_has_its_own() -> None:
    guard = LogOnGuard()
    for _ in range(3):
        guard.failed(ANN, 0.0, "guesser")
    assert guard.locked_s(ANN, 0.0, "guesser") == 900.0
    assert guard.locked_s(ANN, 0.0, "home") == 0.0
    guard.failed(ANN, 0.0, "home")
    assert guard.locked_s(ANN, 0.0, "third") == 900.0
    assert guard.locked_s(ANN, 0.0, "device", is_trusted=True) == 0.0
    guard = LogOnGuard()
    for _ in range(3):
        assert guard.locked_s(ANN, 0.0, "device", is_trusted=True) == 0.0
        guard.failed(ANN, 0.0, "device")
    assert guard.locked_s(ANN, 0.0, "device", is_trusted=True) == 900.0


def test_after_the_window_a_name_has_one_try_in_each_for_a_day_or_until_it_logs_on() -> None:
    guard = LogOnGuard()
    for origin in "aaab":
        guard.failed(ANN, 0.0, origin)
    assert guard.locked_s(ANN, 899.0, "c") == 1.0
    assert guard.locked_s(ANN, 900.0, "c") == 0.0
    guard.failed(ANN, 900.0, "c")
    assert guard.locked_s(ANN, 901.0, "d") == 899.0
    assert guard.locked_s(ANN, 1_800.0, "d") == 0.0
    assert guard.succeeded(ANN, "d")
    guard.failed(ANN, 1_800.0, "d")
    assert guard.locked_s(ANN, 1_800.0, "d") == 0.0


def test_tries_without_an_answer_count_as_wrong_but_lock_nothing() -> None:
    guard = LogOnGuard()
    for origin in "abcd":
        assert not guard.is_busy(ANN, 0.0, origin)
        guard.trying(ANN, origin)
    assert guard.is_busy(ANN, 0.0, "e")
    assert not guard.is_busy(ANN, 0.0, "e", is_trusted=True)
    assert guard.locked_s(ANN, 0.0, "e") == 0.0
    own = LogOnGuard()
    for _ in range(3):
        assert not own.is_busy(ANN, 0.0)
        own.trying(ANN)
    assert own.is_busy(ANN, 0.0)
    assert own.is_busy(ANN, 0.0, is_trusted=True)
    assert own.locked_s(ANN, 0.0) == 0.0
    assert not own.is_busy(ANN, 0.0, "elsewhere")


def test_a_right_password_forgets_the_wrong_ones_unless_others_are_under_way() -> None:
    guard = LogOnGuard()
    fail(guard, 2, 0.0)
    guard.trying(ANN)
    assert guard.succeeded(ANN)
    fail(guard, 3, 0.0)
    assert guard.locked_s(ANN, 0.0) == 900.0
    guard = LogOnGuard()
    fail(guard, 1, 0.0)
    guard.trying(ANN)
    guard.trying(ANN)
    guard.failed(ANN, 0.0)
    assert not guard.succeeded(ANN)
    fail(guard, 1, 0.0)
    assert guard.locked_s(ANN, 0.0) == 900.0


def test_failures_count_without_a_try_and_of_a_name_no_longer_kept() -> None:
    guard = LogOnGuard(tries=3)
    guard.failed(ANN, 0.0)
    assert guard.locked_s(ANN, 0.0) == 0.0
    guard.failed(ANN, 10.0)
    assert guard.locked_s(ANN, 10.0) == 890.0
    guard.failed(ANN, 20.0, "elsewhere")
    assert guard.locked_s(ANN, 20.0, "elsewhere") == 900.0
    guard = LogOnGuard(tries=1, names_max=1)
    guard.trying(ANN)
    guard.trying(BOB)
    assert len(guard) == 1
    guard.failed(ANN, 0.0)
    assert guard.locked_s(ANN, 1.0) == 899.0


def test_names_without_failures_are_not_kept() -> None:
    guard = LogOnGuard()
    for _ in range(10):
        assert guard.locked_s(ANN, 0.0) == 0.0
        guard.trying(ANN)
        guard.unanswered(ANN)
    assert len(guard) == 0
    guard = LogOnGuard()
    guard.trying(ANN)
    guard.succeeded(ANN)
    guard.succeeded(ANN)
    assert len(guard) == 0
