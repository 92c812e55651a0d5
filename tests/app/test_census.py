"""Is what is there counted, and what is gone not?"""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from gateway.app.census import count_shared, count_users
from gateway.telemetry import Telemetry
from gateway.upstream.wire_pool import PartPool
from tests.runtime.scene import scene


def _values(telemetry: Telemetry) -> dict[str, float]:
    return {
        sample.name.removeprefix("oscc_gateway_") + "".join(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(telemetry.render().decode())
        for sample in family.samples
    }


async def test_users_links_and_sessions_are_counted_as_they_come_and_go() -> None:
    telemetry = Telemetry()
    async with scene() as made:
        phone = await made.phone("anna")
        phone.hello()
        await made.clock.advance(1)
        count_users(made.node, telemetry)
        there = _values(telemetry)
        assert (there["users"], there["linkslive"], there["linksdown"]) == (1, 1, 0)
        assert (there["sessions_attacheddashboard"], there["sessions_attachedremote_assistant"]) == (1, 0)
        phone.leave()
        await made.clock.advance(120)
        count_users(made.node, telemetry)
        gone = _values(telemetry)
    assert (gone["users"], gone["linkslive"], gone["sessions_attacheddashboard"]) == (0, 0, 0)
    assert gone["upstream_silence_seconds"] == 0


async def test_the_longest_silence_is_told() -> None:
    telemetry = Telemetry()
    async with scene() as made:
        phone = await made.phone("anna")
        phone.hello()
        await made.clock.advance(1)
        (household,) = made.node.households.values()
        assert household.owner is not None
        assert household.owner.link is not None
        silent_s = made.clock.now() - household.owner.link.heard_at
        count_users(made.node, telemetry)
        assert _values(telemetry)["upstream_silence_seconds"] == silent_s
        phone.leave()


def test_what_was_known_already_is_a_share_of_all() -> None:
    telemetry, pool, other = Telemetry(), PartPool(), PartPool()
    count_shared([pool], telemetry)
    assert _values(telemetry)["pool_hit_ratio"] == 0
    pool.shared, pool.parsed, other.parsed = 6, 1, 1
    count_shared([pool, other], telemetry)
    assert _values(telemetry)["pool_hit_ratio"] == 0.75
