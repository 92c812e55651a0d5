"""Limits of connections: crowds are refused early, with a time to return."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import UserId
from gateway.edge.limits import SocketAdmission, SocketSlot
from gateway.edge.request_context import AdmissionLimits

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


def refusal(error: pytest.ExceptionInfo[GatewayError]) -> tuple[ErrorCode, float | None]:
    return error.value.code, error.value.retry_after_s


def test_an_address_may_knock_at_its_rate() -> None:
    doors = SocketAdmission(LIMITS)
    for _ in range(3):
        doors.check_rate(HERE, 0.0)
    with pytest.raises(GatewayError) as refused:
        doors.check_rate(HERE, 0.0)
    assert refusal(refused) == (ErrorCode.RATE_LIMITED, 1.0)
    doors.check_rate(THERE, 0.0)
    doors.check_rate(HERE, 1.0)


def test_neighbours_on_ipv6_are_one() -> None:
    doors = SocketAdmission(LIMITS)
    for last in range(3):
        doors.check_rate(IPv6Address(f"2001:db8::{last}"), 0.0)
    with pytest.raises(GatewayError):
        doors.check_rate(IPv6Address("2001:db8::ffff"), 0.0)
    doors.check_rate(IPv6Address("2001:db8:0:1::"), 0.0)


def test_a_crowd_is_given_appointments_apart() -> None:
    doors = SocketAdmission(LIMITS)
    waits: list[float] = []
    codes: set[ErrorCode] = set()
    for number in range(25):
        try:
            doors.check_rate(IPv4Address(number + 1), 0.0)
        except GatewayError as error:
            codes.add(error.code)
            waits.append(round(error.retry_after_s or 0, 6))
    assert codes == {ErrorCode.OVER_CAPACITY}
    assert waits == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_those_who_are_refused_of_one_address_are_given_appointments_apart_too() -> None:
    limits = replace(
        LIMITS, handshakes_per_s_of_address=10, handshakes_burst_of_address=5, handshakes_burst=99
    )
    doors = SocketAdmission(limits)

    codes: set[ErrorCode] = set()

    def refusals(times: int, address: int, now: float) -> list[float]:
        waits = []
        for _ in range(times):
            try:
                doors.check_rate(IPv4Address(address), now)
            except GatewayError as error:
                codes.add(error.code)
                waits.append(round(error.retry_after_s or 0, 6))
        return waits

    assert refusals(9, 1, 0.0) == [0.1, 0.2, 0.3, 0.4]
    assert refusals(6, 2, 0.0) == [0.1], "each address has its own"
    assert refusals(1, 1, 0.1) == [], "who comes back in time is let in"
    assert refusals(1, 1, 0.1) == [0.4], "and a newcomer stands behind all others"
    assert max(refusals(1_000, 1, 0.1)) == 60
    assert codes == {ErrorCode.RATE_LIMITED}


def test_no_appointment_is_too_far_away() -> None:
    doors = SocketAdmission(replace(LIMITS, handshakes_per_s=0.1, handshakes_burst=1))
    waits: list[float | None] = []
    for number in range(12):
        try:
            doors.check_rate(IPv4Address(number + 1), 0.0)
        except GatewayError as error:
            waits.append(error.retry_after_s)
    assert max(wait or 0 for wait in waits) == 60


def test_remembered_addresses_are_bounded() -> None:
    doors = SocketAdmission(replace(LIMITS, addresses=7, handshakes_burst=1000))
    for number in range(50):
        doors.check_rate(IPv4Address(number + 1), 0.0)
    assert doors.remembered == 7


def test_of_too_many_silent_sockets_of_an_address_the_oldest_goes() -> None:
    doors = SocketAdmission(replace(LIMITS, connections=50))
    closed: list[str] = []
    first, second = doors.open_slot(HERE), doors.open_slot(HERE)
    first.on_evicted(lambda: closed.append("first"))
    second.on_evicted(lambda: closed.append("second"))
    doors.open_slot(HERE)
    assert (closed, doors.sockets, doors.unhelloed) == (["first"], 3, 2)
    second.hello_accepted()
    fourth = doors.open_slot(HERE)
    assert closed == ["first"], "who has said hello is silent no more"
    doors.open_slot(HERE)
    fourth.on_evicted(lambda: closed.append("fourth"))
    doors.open_slot(HERE)
    assert closed == ["first", "fourth"]
    first.release()
    assert (doors.sockets, doors.unhelloed) == (5, 2), (
        "first, whose socket is closed, has given its place back"
    )


def test_a_place_that_was_taken_before_its_socket_was_served_closes_it_at_once() -> None:
    doors = SocketAdmission(LIMITS)
    closed: list[str] = []
    first = doors.open_slot(HERE)
    for _ in range(2):
        doors.open_slot(HERE)
    first.on_evicted(lambda: closed.append("first"))
    assert closed == ["first"]


def test_who_shows_a_token_counts_for_the_user_and_not_for_the_address() -> None:
    doors = SocketAdmission(LIMITS)
    ann, bob = UserId("main", 1), UserId("main", 2)
    for _ in range(3):
        doors.check_rate(HERE, 0.0)
        doors.check_rate(HERE, 0.0, ann)
    for user in (None, ann):
        with pytest.raises(GatewayError) as refused:
            doors.check_rate(HERE, 0.0, user)
        assert refusal(refused) == (ErrorCode.RATE_LIMITED, 1.0)
    doors.check_rate(HERE, 0.0, bob)
    closed: list[int] = []
    for number in range(2):
        doors.open_slot(HERE).on_evicted(partial(closed.append, number))
    doors.open_slot(HERE, ann)
    doors.open_slot(HERE, bob)
    assert closed == []


def test_sockets_without_a_hello_are_few_on_the_node() -> None:
    doors = SocketAdmission(LIMITS)
    for address in (HERE, HERE, THERE, THERE):
        doors.open_slot(address)
    with pytest.raises(GatewayError) as refused:
        doors.open_slot(IPv4Address("192.0.2.3"))
    assert refusal(refused) == (ErrorCode.OVER_CAPACITY, None)


def test_a_full_node_says_so() -> None:
    doors = SocketAdmission(LIMITS)
    for number in range(5):
        doors.open_slot(IPv4Address(number + 1)).hello_accepted()
    with pytest.raises(GatewayError) as refused:
        doors.open_slot(HERE)
    assert refusal(refused) == (ErrorCode.OVER_CAPACITY, None)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 9)), max_size=40))
def test_whatever_places_do_the_counts_are_theirs(acts: list[tuple[int, int, int]]) -> None:
    doors = SocketAdmission(LIMITS)
    places: list[SocketSlot] = []
    taken: list[SocketSlot] = []

    def enter(address: int) -> SocketSlot:
        place = doors.open_slot(IPv4Address(address + 1))
        place.on_evicted(lambda: taken.append(place))
        return place

    for act, address, chosen in acts:
        which = chosen % max(1, len(places))
        if act == 0:
            try:
                places.append(enter(address))
            except GatewayError:
                continue
        elif places:
            if act == 1:
                places[which] = places[which].hello_accepted()
            else:
                places.pop(which).release()
        assert doors.sockets == len(places)
        silent = [place for place in places if place is not doors.hello_slot and place not in taken]
        assert doors.unhelloed == len(silent)
    for place in places:
        place.release()
    assert (doors.sockets, doors.unhelloed) == (0, 0)
