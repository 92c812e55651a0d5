"""Contract of the ports Upstream and Authority."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from gateway.domain.errors import ErrorCode
from gateway.domain.model import Application, Device, SessionId, SessionSecret
from gateway.domain.resources import FunctionState
from gateway.domain.upstream import Feature, FunctionChanged, LinkClosed, LinkReplaced, LogOn, Opened
from tests.contracts.upstream_sites import PHONE, SITES, TABLET, Site, hearing
from tests.doubles.refusals import refused_with


@pytest.fixture(params=SITES)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with request.param() as made:
        yield made


# ---- Authority ----


async def test_a_log_on_opens_a_session_that_is_listed(site: Site) -> None:
    session = await site.dashboard()
    assert session.remote_number is None
    assert session.expires_at_ms > site.clock.wall_ms()
    (listed,) = await site.server.sessions(session.secret)
    assert (listed.session, listed.application) == (session.session, Application.DASHBOARD)
    assert (listed.device, listed.attached) == (TABLET, False)
    assert abs(listed.since_ms - site.clock.wall_ms()) < 10_000


async def test_a_servers_instance_is_the_same_wherever_it_is_reported(site: Site) -> None:
    session = await site.dashboard()
    async with hearing(await site.link(session)) as arrived:
        opened = await arrived.first(Opened)
    about = await site.server.about()
    assert session.server is not None
    assert session.server == opened.server == about.server


async def test_a_wrong_password_is_refused(site: Site) -> None:
    wrong = LogOn(Application.DASHBOARD, site.user_name, "wrong", TABLET)
    with refused_with(ErrorCode.INVALID_CREDENTIALS):
        await site.server.log_on(wrong)


async def test_an_assistant_without_a_number_is_refused(site: Site) -> None:
    numberless = LogOn(Application.REMOTE_ASSISTANT, site.user_name, site.password, PHONE)
    with refused_with(ErrorCode.REMOTE_NUMBER_MISSING):
        await site.server.log_on(numberless)


async def test_the_number_in_effect_is_reported(site: Site) -> None:
    session = await site.assistant()
    assert session.remote_number == site.remote_number
    assert 1 <= session.idle_timeout_s <= 3600


async def test_a_second_assistant_is_refused_with_the_place_of_the_first(site: Site) -> None:
    await site.assistant()
    with refused_with(ErrorCode.ALREADY_LOGGED_ON) as refused:
        await site.assistant(Device("phone-2", "Other"))
    assert refused.value.details["where"] == PHONE.name
    since_ms = refused.value.details["since_ms"]
    assert isinstance(since_ms, int)
    assert abs(since_ms - site.clock.wall_ms()) < 10_000


async def test_a_take_over_ends_the_first_assistant(site: Site) -> None:
    first = await site.assistant()
    second = await site.assistant(Device("phone-2", "Other"), takeover=True)
    assert second.session != first.session
    with refused_with(ErrorCode.SESSION_ENDED):
        await site.server.keep_alive(first.secret)


async def test_the_same_device_replaces_its_own_session(site: Site) -> None:
    await site.dashboard()
    second = await site.dashboard()
    (listed,) = await site.server.sessions(second.secret)
    assert listed.session == second.session


async def test_a_log_off_is_confirmed_and_may_be_repeated(site: Site) -> None:
    session = await site.assistant()
    assert (await site.server.log_off(session.secret)).routing == "removed"
    assert (await site.server.log_off(session.secret)).routing in {"removed", "none"}


async def test_logging_off_an_unknown_session_counts_as_removed(site: Site) -> None:
    off = await site.server.log_off(SessionSecret("no-such-session"))
    assert (off.routing, off.routed_until_ms) == ("removed", None)


async def test_a_user_ends_another_session_of_his_own(site: Site) -> None:
    mine = await site.dashboard()
    other = await site.dashboard(Device("tablet-2", "Second"))
    ended = await site.server.end(mine.secret, other.session)
    assert (ended.routing, ended.routed_until_ms) == ("none", None)
    assert [info.session for info in await site.server.sessions(mine.secret)] == [mine.session]


async def test_a_user_ends_his_assistant_from_his_desk(site: Site) -> None:
    desk, pocket = await site.dashboard(), await site.assistant()
    assert (await site.server.end(desk.secret, pocket.session)).routing == "removed"
    with refused_with(ErrorCode.SESSION_ENDED):
        await site.server.keep_alive(pocket.secret)


async def test_ending_no_session_is_not_found(site: Site) -> None:
    mine = await site.dashboard()
    with refused_with(ErrorCode.NOT_FOUND):
        await site.server.end(mine.secret, SessionId("no-such-session"))


async def test_the_end_of_a_session_is_reported_in_the_gateways_time(site: Site) -> None:
    session = await site.dashboard()
    life_ms = session.expires_at_ms - site.clock.wall_ms()
    assert abs(life_ms - 8 * 3_600_000) < 10_000
    kept_until_ms = await site.server.keep_alive(session.secret)
    assert abs(kept_until_ms - site.clock.wall_ms() - 8 * 3_600_000) < 10_000
    assert kept_until_ms >= session.expires_at_ms - site.unsure_ms, "more life never means less"


async def test_an_unknown_session_has_ended(site: Site) -> None:
    for asked in (site.server.sessions, site.server.keep_alive):
        with refused_with(ErrorCode.SESSION_ENDED):
            await asked(SessionSecret("no-such-session"))


# ---- Upstream ----


async def test_the_server_says_which_one_it_is(site: Site) -> None:
    about = await site.server.about()
    assert (about.extensions_version, about.contact_center_version) == site.versions
    assert Feature.LINK_FENCING in about.features


async def test_the_link_opens_with_the_session_attached(site: Site) -> None:
    session = await site.dashboard()
    link = await site.link(session)
    first = await link.receive()
    assert isinstance(first, Opened)
    assert first.user.id == session.user.id
    assert first.attached.session == session.session
    assert first.attached.application is Application.DASHBOARD
    assert first.keep_alive_s > 0
    assert abs(first.time_ms - site.clock.wall_ms() - site.skew_ms) < 10_000
    await link.close()


async def test_the_link_sends_the_functions(site: Site) -> None:
    async with hearing(await site.link(await site.dashboard())) as arrived:
        received = await arrived.first(FunctionChanged)
    assert received.state is FunctionState.UP


async def test_an_unknown_session_opens_no_link(site: Site) -> None:
    session = await site.dashboard()
    with pytest.raises(LinkClosed) as refused:
        await site.server.open(session.user.id, SessionSecret("no-such-session"), token=1, holder="a")
    assert refused.value.reason == "session_unknown"


async def test_a_lower_token_is_stale_and_an_equal_one_of_another_holder(site: Site) -> None:
    session = await site.dashboard()
    async with hearing(await site.link(session, token=5, holder="a")):
        for token, holder in ((4, "a"), (5, "b")):
            with pytest.raises(LinkClosed) as refused:
                await site.link(session, token=token, holder=holder)
            assert (refused.value.reason, refused.value.token) == ("stale", 5)


@pytest.mark.parametrize(("token", "holder"), [(6, "b"), (5, "a")])
async def test_a_higher_token_replaces_and_an_equal_one_of_the_same_holder(
    site: Site, token: int, holder: str
) -> None:
    session = await site.dashboard()
    async with hearing(await site.link(session, token=5, holder="a")) as old:
        await old.first(Opened)
        async with hearing(await site.link(session, token=token, holder=holder)) as new:
            assert (await new.first(Opened)).attached.session == session.session
            assert (await old.first(LinkReplaced)).token == token
            assert (await old.end()).reason == "lost"
