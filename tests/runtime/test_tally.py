"""What happens between the nodes of a cluster that is worth counting?"""

from __future__ import annotations

import inspect

from gateway.core.rate_limits import Urgency
from gateway.domain.upstream import Feature
from gateway.protocol.envelopes import Channel, Envelope, Publication, Publications
from gateway.runtime.handover import ALONE_S, UNLINKED_S
from gateway.runtime.ports import Tally
from gateway.runtime.remote_owner import EXPIRY_S
from tests.runtime.followed import TRUSTED_S, followed
from tests.runtime.scene import user
from tests.runtime.street import Street, street

ASKED_S = 10.0
"""Within which time a follower asks."""
DOWN_S = 8.0
"""Until a node that reaches no Redis knows that the bus is down."""


def counted(at: Street, name: str, **labels: str) -> list[float]:
    """Return what each node has counted."""
    return [scene.counted(name, **labels) for scene in at.scenes]


# ---- nothing ----


def test_who_overrides_nothing_counts_nothing_and_is_told_all_the_same() -> None:
    tally = Tally()
    for name, method in inspect.getmembers(tally, inspect.ismethod):
        told = [
            0.5 if "_s" in each or each == "seconds" else "any"
            for each in inspect.signature(method).parameters
        ]
        assert method(*told) is None, name


async def test_two_nodes_that_live_in_peace_count_no_trouble() -> None:
    async with street() as at:
        await followed(at, settled_s=TRUSTED_S)
        await at.pass_time(60)
        quiet = ("self_fences_total", "dual_owner_observed_total", "stale_epoch_dropped_total")
        assert [counted(at, name) for name in quiet] == [[0, 0]] * 3
        assert [counted(at, "bus_gaps_total", detector=d) for d in ("sequence", "probe", "subscription")] == [
            [0, 0]
        ] * 3
        assert counted(at, "takeover_blind_seconds_count") == [0, 0]


# ---- who speaks for whom ----


async def test_a_user_whose_phones_roam_is_counted_by_who_gives_and_by_who_takes() -> None:
    async with street() as at:
        near, _ = await followed(at, settled_s=TRUSTED_S)
        near.bye()
        await at.pass_time(ALONE_S + ASKED_S + 1)
        assert at.owners() == [1]
        assert counted(at, "ownership_moves_total", reason="roam") == [1, 0]
        assert counted(at, "takeovers_total", kind="planned") == [0, 1]
        assert counted(at, "takeover_blind_seconds_count") == [0, 1]
        assert counted(at, "takeover_blind_seconds_sum")[1] < 1.0
        assert counted(at, "dual_owner_observed_total") == [0, 0]


async def test_a_user_of_a_node_that_drains_is_counted_as_that() -> None:
    async with street() as at:
        await followed(at, settled_s=TRUSTED_S)
        at.scenes[0].node.drain()
        await at.pass_time(ASKED_S + 1)
        assert at.owners() == [1]
        assert counted(at, "ownership_moves_total", reason="drain") == [1, 0]


async def test_a_user_of_a_node_that_does_not_reach_the_site_is_counted_as_of_an_island() -> None:
    async with street() as at:
        await followed(at, settled_s=TRUSTED_S)
        at.ways[0].shut()
        await at.pass_time(UNLINKED_S + ASKED_S + 5)
        assert at.owners() == [1]
        assert counted(at, "ownership_moves_total", reason="island") == [1, 0]
        assert counted(at, "takeovers_total", kind="planned") == [0, 1]


async def test_a_user_of_a_killed_node_is_counted_by_who_takes_him() -> None:
    async with street() as at:
        await followed(at, settled_s=TRUSTED_S)
        await at.kill(0)
        await at.pass_time(6)
        assert at.owners() == [1]
        assert counted(at, "takeovers_total", kind="early") == [0, 1]
        assert counted(at, "ownership_moves_total", reason="deaf") == [0, 1]
        assert counted(at, "takeover_blind_seconds_count") == [0, 1]


async def test_without_fencing_the_lease_of_a_killed_node_runs_out_first() -> None:
    async with street(features=frozenset(Feature) - {Feature.LINK_FENCING}) as at:
        await followed(at, settled_s=TRUSTED_S)
        await at.kill(0)
        await at.pass_time(EXPIRY_S + 6)
        assert at.owners() == [1]
        assert counted(at, "takeovers_total", kind="expired") == [0, 1]
        assert counted(at, "ownership_moves_total", reason="expired") == [0, 1]


async def test_a_user_who_is_taken_without_the_store_is_counted_as_of_an_island() -> None:
    async with street() as at:
        near, _ = await followed(at, settled_s=TRUSTED_S)
        at.trouble.take_away()
        await at.pass_time(DOWN_S)
        near.leave()
        await at.scenes[1].again(near)
        await at.pass_time(10)
        assert at.owners()[-1] == 1
        assert counted(at, "takeovers_total", kind="assumed")[1] == 1
        assert counted(at, "ownership_moves_total", reason="island")[1] == 1


async def test_a_lease_that_no_renewal_extends_is_counted_once() -> None:
    async with street() as at:
        await followed(at, settled_s=TRUSTED_S)
        at.trouble.take_away()
        await at.pass_time(40)
        assert counted(at, "self_fences_total") == [1, 0]


async def test_a_link_that_the_holder_of_the_lease_does_not_replace_is_a_second_owner() -> None:
    async with street() as at:
        await at.scenes[0].served()
        await at.pass_time(1)
        scene = at.scenes[0]
        grant = await at.trouble.store(0).leases.read(user(1))
        assert grant is not None
        stolen = at.trouble.store(0).leases
        await stolen.acquire(user(1), grant.node, "another", floor=0, expected=grant.token)
        for _ in range(30):
            await at.pass_time(1)
            held = await stolen.read(user(1))
            if held is not None:
                await stolen.renew(user(1), held.node, held.holder, held.token)
        assert scene.counted("dual_owner_observed_total") == 1


async def test_a_link_that_another_replaced_without_the_lease_is_a_second_owner() -> None:
    async with street() as at:
        near, _ = await followed(at, settled_s=TRUSTED_S)
        link = at.upstream.link(user(1))
        assert link is not None
        await at.upstream.open(user(1), near.ticket.secret, token=link.token + 1, holder="another")
        await at.pass_time(5)
        assert counted(at, "dual_owner_observed_total")[0] == 1


# ---- what the bus does ----


async def test_probes_and_messages_are_counted() -> None:
    async with street() as at:
        await at.pass_time(10)
        assert all(count >= 9 for count in counted(at, "bus_probe_seconds_count"))
        assert counted(at, "bus_publish_total") >= counted(at, "bus_probe_seconds_count")
        at.trouble.take_away(1)
        before = counted(at, "bus_publish_total")
        await at.pass_time(5)
        after = counted(at, "bus_publish_total")
        assert (after[0] > before[0], after[1]) == (True, before[1])


async def test_a_lost_publication_is_a_gap_and_a_resync() -> None:
    async with street() as at:
        near, far = await followed(at, settled_s=TRUSTED_S)
        lost: list[Envelope] = []

        def lose(_: int, to: int, __: Channel, envelope: Envelope) -> bool:
            is_first = not lost and to == 1 and isinstance(envelope, Publications)
            lost.extend([envelope] if is_first else [])
            return is_first

        at.trouble.lose = lose
        for number in (1, 2):
            near.command(str(number), str(number), command=_state(number))
            await at.pass_time(0.25)
        await at.pass_time(2)
        assert lost
        assert counted(at, "bus_gaps_total", detector="sequence") == [0, 1]
        assert counted(at, "resyncs_total", reason="gap") == [0, 1]
        assert near.shown.keys() == far.shown.keys()


def _state(number: int) -> dict[str, object]:
    state = "unavailable" if number % 2 else "available"
    return {"kind": "agent.routing_state.set", "agent_id": "7", "state": state, "when": "now"}


async def test_a_bus_that_was_away_is_a_gap_for_the_probe_and_a_resync_of_all_who_are_followed() -> None:
    async with street() as at:
        await followed(at, settled_s=TRUSTED_S)
        at.trouble.lose = lambda sender, to, *_: sender == to == 1
        await at.pass_time(3)
        at.trouble.lose = None
        await at.pass_time(5)
        assert counted(at, "bus_gaps_total", detector="probe") == [0, 1]
        assert counted(at, "bus_gaps_total", detector="subscription") == [0, 0]
        assert counted(at, "resyncs_total", reason="bus") == [0, 1]


async def test_a_renewed_connection_is_a_gap_though_no_probe_was_lost() -> None:
    async with street() as at:
        await followed(at, settled_s=TRUSTED_S)
        at.trouble.renew(1)
        await at.pass_time(3)
        assert counted(at, "bus_gaps_total", detector="subscription") == [0, 1]
        assert counted(at, "resyncs_total", reason="bus") == [0, 1]


async def test_what_an_earlier_owner_still_says_is_dropped_and_counted() -> None:
    async with street(3) as at:
        near, _ = await followed(at, settled_s=TRUSTED_S)
        await at.scenes[2].served(device="d3")
        await at.pass_time(2)
        said = [told for told in at.heard(Publication) if isinstance(told, Publication)]
        near.bye()
        await at.pass_time(ALONE_S + ASKED_S + 1)
        (owner,) = at.owners()
        follower = 3 - owner
        assert counted(at, "resyncs_total", reason="epoch")[follower] == 1
        before = counted(at, "stale_epoch_dropped_total")[follower]
        at.scenes[follower].node.user_states[user(1)].follower.receive(said[-1])  # type: ignore[union-attr]  # it is no owner
        assert counted(at, "stale_epoch_dropped_total")[follower] == before + 1


async def test_links_that_wait_for_their_turn_are_counted_by_why_they_are_opened() -> None:
    async with street() as at:
        await at.scenes[0].served()
        assert (
            at.scenes[0].counted("budget_wait_seconds_count", **{"class": Urgency.PERSON.name.lower()}) == 1
        )
        at.ways[0].shut()
        await at.pass_time(1)
        at.ways[0].reopen()
        await at.pass_time(10)
        assert at.scenes[0].counted("budget_wait_seconds_count", **{"class": "reopening"}) >= 1
