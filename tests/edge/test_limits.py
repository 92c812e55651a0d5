"""Limits of connections and requests: crowds are refused early, with a time to return."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.rate_limits import SessionLimits
from gateway.domain.errors import CloseCode, ErrorCode, GatewayError, SessionRefused
from gateway.domain.model import UserId
from gateway.edge.limits import OPENING_MIN, WAIT_MAX_S, PendingConnections, SocketAdmission, SocketSlot
from gateway.edge.request_context import BODY_S, AdmissionLimits, EdgeSettings, read_body_in_time
from gateway.protocol.frames import COMMANDS
from tests.doubles.clock import ManualClock
from tests.doubles.tasks import beside
from tests.edge.conftest import Open
from tests.edge.visits import SETTINGS, SITE, Gateway, bearer, code_of, ticket_of

HERE, THERE = IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")
LIMITS = AdmissionLimits(
    connections=5,
    unhelloed=4,
    unhelloed_per_address=2,
    handshakes_per_s=10,
    handshakes_burst=20,
    handshakes_per_s_of_address=1,
    handshakes_burst_of_address=3,
    addresses=100,
)


def refused(
    check: Callable[..., object], addresses: Iterable[int | IPv4Address | IPv6Address], *more: object
) -> list[tuple[ErrorCode, Any]]:
    """Let the addresses knock one after the other; return the code and the wait of each refusal."""
    found: list[tuple[ErrorCode, Any]] = []
    for address in addresses:
        try:
            check(IPv4Address(address) if isinstance(address, int) else address, *more)
        except GatewayError as error:
            wait_s = error.retry_after_s
            found.append((error.code, None if wait_s is None else round(wait_s, 6)))
    return found


def test_an_address_may_knock_at_its_rate_and_neighbours_on_ipv6_are_one() -> None:
    admission = SocketAdmission(LIMITS)
    assert refused(admission.check_rate, [HERE] * 3, 0.0) == []
    assert refused(admission.check_rate, [HERE, THERE], 0.0) == [(ErrorCode.RATE_LIMITED, 1.0)]
    assert refused(admission.check_rate, [HERE], 1.0) == []
    admission = SocketAdmission(LIMITS)
    neighbours = [IPv6Address(f"2001:db8::{last}") for last in ("0", "1", "2", "ffff")]
    assert refused(admission.check_rate, neighbours[:3], 0.0) == []
    assert refused(admission.check_rate, neighbours[3:], 0.0) == [(ErrorCode.RATE_LIMITED, 1.0)]
    assert refused(admission.check_rate, [IPv6Address("2001:db8:0:1::")], 0.0) == []


def test_appointments_of_a_crowd_are_apart_not_too_far_away_and_addresses_bounded() -> None:
    admission = SocketAdmission(LIMITS)
    waits = [(ErrorCode.OVER_CAPACITY, wait) for wait in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert refused(admission.check_rate, range(1, 26), 0.0) == waits
    admission = SocketAdmission(replace(LIMITS, handshakes_per_s=0.1, handshakes_burst=1))
    assert max(wait for _, wait in refused(admission.check_rate, range(1, 13), 0.0)) == 60
    admission = SocketAdmission(replace(LIMITS, addresses=7, handshakes_burst=1000))
    for number in range(50):
        admission.check_rate(IPv4Address(number + 1), 0.0)
    assert admission.remembered == 7


def test_those_who_are_refused_of_one_address_are_given_appointments_apart_too() -> None:
    admission = SocketAdmission(
        replace(LIMITS, handshakes_per_s_of_address=10, handshakes_burst_of_address=5, handshakes_burst=99)
    )

    def waits(times: int, address: int, now: float) -> list[float]:
        found = refused(admission.check_rate, [address] * times, now)
        assert {code for code, _ in found} <= {ErrorCode.RATE_LIMITED}
        return [wait for _, wait in found]

    assert waits(9, 1, 0.0) == [0.1, 0.2, 0.3, 0.4]
    assert waits(6, 2, 0.0) == [0.1], "each address has its own"
    assert waits(1, 1, 0.1) == [], "who comes back in time is let in"
    assert waits(1, 1, 0.1) == [0.4], "and a newcomer stands behind all others"
    assert max(waits(1_000, 1, 0.1)) == 60


MANY = AdmissionLimits(connections=100, unhelloed=100, unhelloed_per_address=100)


def test_phones_leave_descriptors_to_their_links(caplog: pytest.LogCaptureFixture) -> None:
    links = 0
    admission = SocketAdmission(MANY, lambda: 11 - links)
    slots = [admission.open_slot(HERE).hello_accepted() for _ in range(5)]
    assert admission.is_full, (
        "of 11 descriptors 5 phones and 5 links take ten, and another two would be too many"
    )
    assert [code for code, _ in refused(admission.open_slot, [HERE] * 2)] == [ErrorCode.OVER_CAPACITY] * 2
    assert [(each.message, vars(each)["connections"]) for each in caplog.records] == [
        ("file_limit_reached", 5)
    ]
    for slot in slots:
        links += 1
        slot.served()
    assert admission.is_full, "links that are open count as those that will be"
    admission.served_slot.release()
    links -= 1
    admission.open_slot(HERE).hello_accepted()  # there is room again
    with pytest.raises(GatewayError):
        admission.open_slot(HERE)
    assert len(caplog.records) == 2, "once for each time"


def test_a_full_node_does_not_log_each_phone_that_takes_a_place(caplog: pytest.LogCaptureFixture) -> None:
    admission = SocketAdmission(replace(MANY, connections=1_000, unhelloed=1_000), lambda: 500)

    def fill() -> None:
        while not admission.is_full:
            admission.open_slot(HERE).hello_accepted(is_user_present=True).served()
        with pytest.raises(GatewayError):
            admission.open_slot(HERE)

    for _ in range(3):
        fill()
        admission.served_slot.release()
    assert len(caplog.records) == 1
    for _ in range(5):
        admission.served_slot.release()
    fill()
    assert len(caplog.records) == 2


def test_a_hello_is_refused_whose_user_could_get_no_link(caplog: pytest.LogCaptureFixture) -> None:
    admission = SocketAdmission(MANY, lambda: 11)
    silent = [admission.open_slot(HERE) for _ in range(10)]
    assert admission.is_full
    accepted = silent.pop().hello_accepted()
    with pytest.raises(SessionRefused) as refusal:
        silent[0].hello_accepted()
    assert refusal.value.code is CloseCode.OVER_CAPACITY
    assert [each.message for each in caplog.records] == ["file_limit_reached"]
    assert (admission.sockets, admission.unhelloed, admission.opening) == (10, 9, 1), (
        "the refused socket still is without"
    )
    silent[1].hello_accepted(is_user_present=True)
    silent.pop(0).release()
    accepted.release()
    silent[1].hello_accepted()


def test_phones_of_present_users_return_at_once_without_a_second_descriptor_each() -> None:
    links = 40
    admission = SocketAdmission(MANY, lambda: 100 - links)
    for slot in [admission.open_slot(HERE) for _ in range(links)]:  # their links are open and counted
        slot.hello_accepted(is_user_present=True)
    assert (admission.sockets, admission.opening, admission.is_full) == (40, 40, False)
    for _ in range(10):  # each of these users needs a link
        assert not admission.is_full
        admission.open_slot(HERE).hello_accepted()
    assert (admission.opening, admission.is_full) == (50, True)


def test_the_limit_of_connections_alone_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    admission = SocketAdmission(AdmissionLimits(connections=1), lambda: 1_000)
    admission.open_slot(HERE)
    with pytest.raises(GatewayError):
        admission.open_slot(HERE)
    assert not caplog.records


def test_of_too_many_silent_sockets_of_an_address_the_oldest_goes() -> None:
    admission = SocketAdmission(replace(LIMITS, connections=50))
    closed: list[str] = []
    first, second = admission.open_slot(HERE), admission.open_slot(HERE)
    first.on_evicted(lambda: closed.append("first"))
    second.on_evicted(lambda: closed.append("second"))
    admission.open_slot(HERE)
    assert (closed, admission.sockets, admission.unhelloed) == (["first"], 3, 2)
    second.hello_accepted()
    fourth = admission.open_slot(HERE)
    assert closed == ["first"], "who has said hello is silent no more"
    admission.open_slot(HERE)
    fourth.on_evicted(lambda: closed.append("fourth"))
    admission.open_slot(HERE)
    assert closed == ["first", "fourth"]
    first.release()
    assert (admission.sockets, admission.unhelloed) == (5, 2), (
        "first, whose socket is closed, has given its place back"
    )


def test_a_place_that_was_taken_before_its_socket_was_served_closes_it_at_once() -> None:
    admission = SocketAdmission(LIMITS)
    closed: list[str] = []
    first = admission.open_slot(HERE)
    for _ in range(2):
        admission.open_slot(HERE)
    first.on_evicted(lambda: closed.append("first"))
    assert closed == ["first"]


def test_who_shows_a_token_counts_for_the_user_and_not_for_the_address() -> None:
    admission = SocketAdmission(LIMITS)
    ann, bob = UserId("main", 1), UserId("main", 2)
    for _ in range(3):
        admission.check_rate(HERE, 0.0)
        admission.check_rate(HERE, 0.0, ann)
    for user in (None, ann):
        assert refused(admission.check_rate, [HERE], 0.0, user) == [(ErrorCode.RATE_LIMITED, 1.0)]
    admission.check_rate(HERE, 0.0, bob)
    closed: list[int] = []
    for number in range(2):
        admission.open_slot(HERE).on_evicted(partial(closed.append, number))
    admission.open_slot(HERE, ann)
    admission.open_slot(HERE, bob)
    assert closed == []


def test_a_full_node_and_too_many_silent_sockets_are_refused() -> None:
    full = [(ErrorCode.OVER_CAPACITY, None)]
    admission = SocketAdmission(LIMITS)
    assert refused(admission.open_slot, [HERE, HERE, THERE, THERE]) == []
    assert refused(admission.open_slot, [IPv4Address("192.0.2.3")]) == full
    admission = SocketAdmission(LIMITS)
    for number in range(5):
        admission.open_slot(IPv4Address(number + 1)).hello_accepted()
    assert refused(admission.open_slot, [HERE]) == full


async def test_a_full_node_closes_the_connection_of_whom_it_refuses(gateway_with: Open) -> None:
    gateway = await gateway_with(replace(SETTINGS, admission=AdmissionLimits(connections=1)))
    await gateway.connect()
    headers = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "oscc.v1.json",
    }  # fmt: skip
    async with gateway.client.get("/v1/realtime", headers=headers) as response:
        assert (response.status, response.headers["Connection"]) == (503, "close")


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 9)), max_size=40))
def test_whatever_places_do_the_counts_are_theirs(acts: list[tuple[int, int, int]]) -> None:
    admission = SocketAdmission(LIMITS)
    places: list[SocketSlot] = []
    taken: list[SocketSlot] = []

    def enter(address: int) -> SocketSlot:
        place = admission.open_slot(IPv4Address(address + 1))
        place.on_evicted(lambda: taken.append(place))
        return place

    present = partial(SocketSlot.hello_accepted, is_user_present=True)
    changes: dict[int, Callable[[SocketSlot], SocketSlot]] = {
        1: SocketSlot.hello_accepted, 2: SocketSlot.served, 3: present
    }  # fmt: skip
    for act, address, chosen in acts:
        which = chosen % max(1, len(places))
        if act == 0:
            try:
                places.append(enter(address))
            except GatewayError:
                continue
        elif places and act in changes:
            places[which] = changes[act](places[which])
        elif places:
            places.pop(which).release()
        assert admission.sockets == len(places)
        waiting = (admission.opening_slot, admission.arriving_slot)
        shared = (*waiting, admission.served_slot)
        silent = [place for place in places if place not in shared and place not in taken]
        assert admission.unhelloed == len(silent)
        assert admission.opening == sum(map(places.count, waiting))
    for place in places:
        place.release()
    assert (admission.sockets, admission.unhelloed, admission.opening) == (0, 0, 0)


def late(limits: AdmissionLimits) -> SocketAdmission:
    """Return the admission of a node that has been late for five seconds."""
    admission = SocketAdmission(limits)
    for half in range(10):
        admission.lagged(0.8, half / 2)
    return admission


def come_to(admission: SocketAdmission, phones: int, now: float) -> list[float | None]:
    """Let phones come; return when each that is refused is to come again."""
    waits: list[float | None] = []
    for number in range(phones):
        try:
            admission.check_pace(now)
        except GatewayError as busy:
            waits.append(busy.retry_after_s)
        else:
            admission.open_slot(IPv4Address(number + 1)).hello_accepted()
    return waits


def test_a_late_node_serves_a_few_phones_and_gives_the_others_a_time() -> None:
    admission = SocketAdmission(replace(LIMITS, connections=1000))
    assert come_to(admission, 50, 0.0) == []
    for _ in range(50):
        admission.arriving_slot.served()
    for second in range(20):  # two phones a second
        for half in (0.5, 1.0):
            admission.open_slot(HERE).hello_accepted().served().release()
            admission.lagged(0.6, second + half)
    waits = come_to(admission, OPENING_MIN + 5, 20.0)
    assert waits == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.5], rel=0.05)


def test_a_late_node_refuses_few_if_it_serves_many_and_none_if_it_was_late_once() -> None:
    admission = SocketAdmission(replace(LIMITS, connections=1000))
    for half in range(40):
        for _ in range(50):
            admission.open_slot(HERE).hello_accepted().served().release()
        admission.lagged(0.8, (half + 1) / 2)
    assert len(come_to(admission, 310, 20.0)) == pytest.approx(10, abs=1)  # of 100 a second
    admission = SocketAdmission(replace(LIMITS, connections=1000))
    for half in range(10):
        admission.lagged(0.7 if half == 8 else 0.0, half / 2)
    assert come_to(admission, 50, 5.0) == []


def test_one_address_that_floods_a_late_node_does_not_change_the_times_of_others() -> None:
    admission = late(replace(LIMITS, connections=1000, unhelloed=1000))
    for number in range(OPENING_MIN):
        admission.open_slot(IPv4Address(number + 1)).hello_accepted()
    assert len(refused(admission.check_handshake, [HERE] * 500, 5.0)) == 500
    wait_s = LIMITS.handshakes_burst_of_address + 1.0
    assert refused(admission.check_handshake, [THERE], 5.0) == [(ErrorCode.OVER_CAPACITY, wait_s)]


def test_silent_sockets_of_one_address_keep_nobody_out_of_a_late_node() -> None:
    admission = late(replace(LIMITS, connections=1000, unhelloed=1000, unhelloed_per_address=200))
    for _ in range(200):
        admission.open_slot(HERE)
    assert len(come_to(admission, 10, 5.0)) == 10 - OPENING_MIN / 2
    for address in (1, 2):
        with pytest.raises(GatewayError):
            admission.check_pace(5.0)
        admission.open_slot(IPv4Address(address))


def test_a_node_that_is_late_no_more_gives_times_by_its_rate() -> None:
    admission = late(replace(LIMITS, connections=1000, unhelloed=1000))
    assert max(wait or 0.0 for wait in come_to(admission, 100, 5.0)) == 60.0
    for half in range(10, 20):
        admission.lagged(0.0, half / 2)
    waits = [wait for _, wait in refused(admission.check_handshake, range(1, 26), 10.0)]
    assert waits == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_more_phones_than_can_come_within_a_minute_do_not_all_come_at_its_end() -> None:
    admission = SocketAdmission(replace(LIMITS, connections=10_000, unhelloed=10_000))
    for half in range(40):
        for _ in range(10):
            admission.open_slot(HERE).hello_accepted().served().release()
        admission.lagged(0.8, (half + 1) / 2)
    waits = [wait for wait in come_to(admission, 8_000, 20.0) if wait is not None]
    in_second = Counter(math.floor(wait) for wait in waits)
    assert len(waits) > 7_900
    assert max(waits) <= 60.0
    assert {in_second[second] for second in range(1, 29)} <= {19, 20, 21}, "of 20 a second"
    assert max(in_second.values()) < 300


# ---- unfinished connections never keep others out ----


class Line:
    """A transport that knows where it comes from, and whether it was cut."""

    def __init__(self, host: str | None) -> None:
        self.cut = False
        self._host = host

    def get_extra_info(self, name: str) -> object:
        return None if self._host is None else (self._host, 1)

    def abort(self) -> None:
        self.cut = True


def come(callers: PendingConnections, *hosts: str | None) -> list[Line]:
    lines = [Line(host) for host in hosts]
    for line in lines:
        callers.opened(line, cast(asyncio.Transport, line))
    return lines


def cut(lines: list[Line]) -> list[int]:
    return [number for number, line in enumerate(lines) if line.cut]


def test_the_oldest_silent_connection_of_a_crowded_subscriber_makes_way() -> None:
    callers = PendingConnections(10, 2)
    assert cut(come(callers, "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2")) == [0]
    assert (len(callers), callers.dropped) == (3, 1)
    lines = come(
        PendingConnections(10, 2), "2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "2001:db8:0:1::1"
    )
    assert cut(lines) == [0]
    callers = PendingConnections(2, 2)
    lines = come(callers, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
    assert (cut(lines), len(callers)) == ([0, 1], 2)


def test_who_has_sent_a_request_makes_way_for_nobody() -> None:
    callers = PendingConnections(10, 2)
    lines = come(callers, "192.0.2.1", "192.0.2.1")
    callers.head_received(lines[0])
    assert cut(come(callers, "192.0.2.1")) == []
    assert cut(lines) == [1]
    (third,) = [each for each in callers._open if each not in lines]
    callers.head_received(third)
    assert cut(come(callers, "192.0.2.1")) == [0], "all others have sent one: the newcomer is refused"
    for line in list(callers._open):
        callers.closed(line)
    assert (len(callers), callers._silent, callers._of.total()) == (0, {}, 0)


def test_a_proxy_has_no_share_and_who_left_is_counted_no_more() -> None:
    callers = PendingConnections(10, 1, (ip_network("10.0.0.0/8"),))
    assert cut(come(callers, "10.0.0.1", "10.0.0.1", None, None)) == []
    callers = PendingConnections(10, 1)
    (first,) = come(callers, "192.0.2.1")
    callers.closed(first)
    callers.closed(first)
    assert cut(come(callers, "192.0.2.1")) == []
    assert (len(callers), callers._of.total()) == (1, 1)


class Endless:
    """A request whose body never ends."""

    transport = object()
    """The client is there."""

    async def read(self) -> bytes:
        await asyncio.Event().wait()
        return b""


class Whole:
    transport = object()

    async def read(self) -> bytes:
        return b"{}"


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    clock = ManualClock()
    async with beside(_refused(read_body_in_time(cast(web.Request, Endless()), clock))) as reading:
        await clock.advance(BODY_S - 0.1)
        assert not reading.done()
        await clock.advance(0.2)
    assert reading.result() is ErrorCode.BAD_REQUEST
    assert await read_body_in_time(cast(web.Request, Whole()), clock) == b"{}"


async def _refused(asked: Any) -> ErrorCode:  # noqa: ANN401 - a coroutine of anything
    with pytest.raises(GatewayError) as raised:
        await asked
    return raised.value.code


# ---- request rates ----


FEW = replace(
    SETTINGS,
    admission=AdmissionLimits(
        requests_per_s_of_session=2,
        requests_burst_of_session=3,
        requests_per_s_of_address=2,
        requests_burst_of_address=3,
    ),
)


async def asked(
    gateway: Gateway, path: str, times: int, token: str | None = None, method: str = "GET"
) -> list[tuple[float, aiohttp.ClientResponse]]:
    """Ask many times at once; returns after how long each answer came, in order."""
    answers: list[tuple[float, aiohttp.ClientResponse]] = []
    began = gateway.clock.now()

    async def ask() -> None:
        answer = await gateway.client.request(method, path, headers={} if token is None else bearer(token))
        answers.append((round(gateway.clock.now() - began, 1), answer))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(times):
            tasks.create_task(ask())
        while len(answers) < times:
            await gateway.clock.advance(0.1)
    return answers


async def test_requests_beyond_the_rate_wait_and_then_are_refused(gateway_with: Open) -> None:
    gateway = await gateway_with(FEW)
    answers = await asked(gateway, "/v1/about", 8)
    served = sorted(after_s for after_s, answer in answers if answer.status == 200)
    for after_s, earliest_s in zip(served, [0, 0, 0, 0.5, 1.0], strict=True):
        assert earliest_s <= after_s <= earliest_s + 0.2
    late = [(after_s, answer) for after_s, answer in answers if answer.status == 429]
    assert len(late) == 3
    for after_s, answer in late:
        assert WAIT_MAX_S <= after_s <= WAIT_MAX_S + 0.2, "a client over the limit is answered late"
        assert await code_of(answer) == (429, "rate_limited")
        assert answer.headers["Retry-After"] == "1"


async def test_a_session_pays_for_itself_whatever_its_neighbours_ask(gateway_with: Open) -> None:
    gateway = await gateway_with(FEW)
    one = gateway.token()
    other = gateway.token(ticket_of(gateway.clock, session="public-2", key=8))
    await asked(gateway, "/v1/about", 8)
    assert {answer.status for _, answer in await asked(gateway, "/v1/session", 3, one)} == {200}
    assert {answer.status for _, answer in await asked(gateway, "/v1/session", 8, one)} == {200, 429}
    assert {answer.status for _, answer in await asked(gateway, "/v1/session", 3, other)} == {200}


async def test_a_token_that_does_not_open_pays_as_its_address(gateway_with: Open) -> None:
    gateway = await gateway_with(FEW)
    statuses = [answer.status for _, answer in await asked(gateway, "/v1/session", 8, "nonsense")]
    assert (statuses.count(401), statuses.count(429)) == (5, 3)
    (answer,) = await asked(gateway, "/v1/about", 1)
    assert answer[1].status in {200, 429}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_an_export_is_dear(gateway_with: Open, method: str) -> None:
    limits = AdmissionLimits(requests_per_s_of_session=2, requests_burst_of_session=40)
    gateway = await gateway_with(replace(SETTINGS, admission=limits))
    token = gateway.token()
    for _ in range(2):
        ((_, answer),) = await asked(gateway, "/v1/me/export", 1, token, method)
        assert answer.status == 200
    ((_, answer),) = await asked(gateway, "/v1/me/export", 1, token, method)
    assert answer.status == 429


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/sessions"), ("HEAD", "/v1/sessions"), ("DELETE", "/v1/sessions/public-9")],
)
async def test_what_the_server_is_asked_each_time_has_a_rate_of_its_session(
    gateway_with: Open, method: str, path: str
) -> None:
    limits = AdmissionLimits(requests_per_s_of_session=2, requests_burst_of_session=40)
    gateway = await gateway_with(replace(SETTINGS, admission=limits))
    one, other = gateway.token(), gateway.token(ticket_of(gateway.clock, session="public-2", key=8))
    for _ in range(4):
        ((_, answer),) = await asked(gateway, path, 1, one, method)
        assert answer.status != 429
    ((_, answer),) = await asked(gateway, path, 1, one, method)
    assert answer.status == 429
    ((_, answer),) = await asked(gateway, path, 1, other, method)
    assert answer.status != 429


async def test_log_ons_and_handshakes_have_rates_of_their_own(gateway_with: Open) -> None:
    gateway = await gateway_with(FEW)
    await asked(gateway, "/v1/about", 8)
    await gateway.served()


async def test_a_request_gives_way_before_it_is_served(gateway_with: Open) -> None:
    """From Python 3.12 on aiohttp starts each of many pipelined requests at once, in one turn of the loop."""
    gateway = await gateway_with(SETTINGS)
    (limit,) = (
        each for each in gateway.client.app.middlewares if getattr(each, "__name__", "") == "limit_rate"
    )
    served: list[web.Request] = []

    async def serve(request: web.Request) -> web.Response:
        served.append(request)
        return web.Response()

    async def ask() -> None:
        await limit(make_mocked_request("POST", "/v1/sessions"), serve)

    async with beside(ask()):
        await asyncio.sleep(0)
        assert served == []
    assert len(served) == 1


async def test_of_one_connection_one_request_is_served_in_a_turn(gateway_with: Open) -> None:
    gateway = await gateway_with(SETTINGS)
    url = gateway.client.make_url("/v1/about")
    request = b"GET /v1/about HTTP/1.1\r\nHost: x\r\n\r\n"
    (many, fill), (one, ask) = [await asyncio.open_connection(url.host, url.port) for _ in range(2)]
    answered = 0

    async def count() -> None:
        nonlocal answered
        while True:
            await many.readuntil(b"HTTP/1.1 200 OK")
            answered += 1

    counting = asyncio.get_running_loop().create_task(count())
    fill.write(request * 20)
    ask.write(request)
    await one.readuntil(b"HTTP/1.1 200 OK")
    assert answered <= 5, "20 requests in one packet are served before another connection's"
    counting.cancel()
    for writer in fill, ask:
        writer.close()


# ---- defaults ----


def test_the_defaults_are_safe_and_the_protocols() -> None:
    settings = EdgeSettings(version="1.0.0", sites=(SITE,))
    assert not settings.insecure
    assert not settings.tls
    assert (settings.origins, settings.trusted_proxies, dict(settings.app_minimum)) == (frozenset(), (), {})
    assert settings.session == SessionLimits()
    assert settings.log_on_floor_s >= 0.3
    assert settings.log_off_grace_s == 86_400
    assert set(settings.capabilities) == set(COMMANDS)


def test_one_address_is_never_the_whole_node() -> None:
    admission = EdgeSettings(version="1.0.0", sites=(SITE,)).admission
    assert admission.unhelloed_per_address < admission.unhelloed < admission.connections
    assert admission.handshakes_per_s_of_address < admission.handshakes_per_s
    assert admission.handshakes_burst_of_address < admission.handshakes_burst
