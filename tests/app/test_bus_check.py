"""Check of a Redis: one sentence for each fault, and none where it is well."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.config.settings import BusSection
from gateway.app.status import BusReport, check_bus, report_on
from gateway.bus.connect import Endpoint
from gateway.bus.stores import ServerFacts
from gateway.runtime.event_loop import SystemClock
from tests.app.certificates import make
from tests.doubles.sentinels import sentinel_trio
from tests.doubles.servers import Engine, free_port, redis_server

WELL = ServerFacts(Endpoint("h", 6379), "Redis", (8, 0, 2), persists=False, evicts=False, clock_offset_s=0.1)
CLOCK = SystemClock()


def test_a_server_that_is_as_it_should_be_is_only_described() -> None:
    assert report_on(WELL) == (("Redis at h:6379 answers: Redis 8.0.2",), (), ())
    assert report_on(WELL._replace(engine="Valkey", version=(9, 1))).notes == (
        "Redis at h:6379 answers: Valkey 9.1",
    )


@pytest.mark.parametrize(
    ("seen", "start"),
    [
        (WELL._replace(engine=None, version=()), "The server at h:6379 does not report its version"),
        (WELL._replace(persists=True), "The server at h:6379 writes its data to a disk"),
        (WELL._replace(persists=None), "The server at h:6379 does not show this user whether it writes"),
        (WELL._replace(evicts=True), "The server at h:6379 evicts keys when its memory is full"),
        (
            WELL._replace(clock_offset_s=3.4),
            "The clock of the server at h:6379 is 3 s ahead of this machine's",
        ),
        (
            WELL._replace(clock_offset_s=-3600.0),
            "The clock of the server at h:6379 is 3600 s behind this machine's",
        ),
    ],
)
def test_what_is_worth_a_thought_is_advised(seen: ServerFacts, start: str) -> None:
    found = report_on(seen)
    (advice,) = found.advices
    assert advice.startswith(start)
    assert advice.endswith(".")
    assert found.faults == ()


@pytest.mark.parametrize("offset_s", [None, 1.9, -1.9])
def test_what_is_unknown_or_small_is_not(offset_s: float | None) -> None:
    assert report_on(WELL._replace(evicts=None, clock_offset_s=offset_s)).advices == ()


def test_an_old_one_is_a_fault() -> None:
    (fault,) = report_on(WELL._replace(version=(7, 0, 15))).faults
    assert fault == "The server at h:6379 is too old: the gateway needs Redis 7.2 or Valkey 8.0, or newer."


async def test_without_redis_there_is_nothing_to_find() -> None:
    assert await check_bus(BusSection(), CLOCK) == BusReport()


async def test_no_answer_is_a_fault_without_the_password() -> None:
    url = f"redis://gw:canary@127.0.0.1:{free_port()}"
    (fault,) = (await check_bus(BusSection(url=url), CLOCK)).faults
    assert fault.startswith("The Redis at redis://********@127.0.0.1:")
    assert fault.endswith(" cannot be used: it refused the connection.")
    assert "canary" not in fault


async def test_a_file_of_an_authority_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (fault,) = (await check_bus(BusSection(url="rediss://h", ca_file=tmp_path / "none.pem"), CLOCK)).faults
    assert "the file of trusted certificates cannot be read: No such file" in fault


async def test_over_tls_only_the_named_authority_is_believed(tmp_path: Path) -> None:
    certificate, key = make(tmp_path, days=36_500)
    stranger, _ = make(tmp_path, "stranger", days=36_500)
    port = str(free_port())
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    async with redis_server("--tls-port", port, *files, engine=Engine.REDIS):
        url = f"rediss://127.0.0.1:{port}"
        assert (await check_bus(BusSection(url=url, ca_file=certificate), CLOCK)).faults == ()
        for ca_file in (stranger, None):
            (fault,) = (await check_bus(BusSection(url=url, ca_file=ca_file), CLOCK)).faults
            assert "its certificate is not trusted" in fault
        (fault,) = (await check_bus(BusSection(url=f"redis://127.0.0.1:{port}"), CLOCK)).faults
        assert " cannot be used: " in fault


async def test_behind_sentinels_the_primary_is_found() -> None:
    async with sentinel_trio() as trio:
        found = await check_bus(BusSection(url=trio.url), CLOCK)
    assert found.notes[0].startswith(f"Redis at 127.0.0.1:{trio.primary.port} answers: ")
    (fault,) = (await check_bus(BusSection(url=trio.url), CLOCK)).faults
    assert fault.endswith(" cannot be used: no sentinel knows the primary.")
