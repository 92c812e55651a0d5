"""Is a request to end heard, and a second one as a hurry?"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from pathlib import Path

import aiohttp
import pytest

from gateway.app.process import SIGNALS, StopRequest
from tests.app.processes import running
from tests.app.samples import SECRET, write
from tests.doubles.clock import ManualClock

ANY_PORT = {f"OSCC_GATEWAY__{section}__PORT": "0" for section in ("CLIENT", "OPS", "ADMIN")}
TOKEN = "token-of-operators"


def test_asking_once_is_polite_and_twice_is_a_hurry() -> None:
    stopping = StopRequest()
    assert not stopping.asked.is_set()
    stopping.ask()
    assert (stopping.asked.is_set(), stopping.hurried.is_set()) == (True, False)
    stopping.ask()
    assert stopping.hurried.is_set()


def test_who_was_asked_gently_is_asked_by_a_signal_for_the_first_time() -> None:
    stopping = StopRequest()
    for _ in range(2):
        stopping.ask_gently()
        assert (stopping.asked.is_set(), stopping.hurried.is_set()) == (True, False)
    stopping.ask()
    stopping.ask_gently()
    assert not stopping.hurried.is_set()
    stopping.ask()
    assert stopping.hurried.is_set()


async def test_waiting_ends_when_asked_or_when_the_time_is_over() -> None:
    clock, stopping = ManualClock(), StopRequest()
    async with asyncio.TaskGroup() as tasks:
        patient = tasks.create_task(stopping.wait(clock))
        bounded = tasks.create_task(stopping.wait(clock, 5))
        await clock.advance(4)
        assert not bounded.done()
        await clock.advance(1)
        assert bounded.done()
        assert not patient.done()
        stopping.ask()
    assert patient.done()
    await stopping.wait(clock, 5)


@pytest.mark.parametrize("number", SIGNALS)
async def test_signals_ask(number: signal.Signals, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stopping = StopRequest()
    with stopping.on_signals():
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stopping.asked.wait()
        assert not stopping.hurried.is_set()
        os.kill(os.getpid(), number)
        async with asyncio.timeout(5):
            await stopping.hurried.wait()
        after = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, after.set)
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGUSR1)  # heard after the third, which says nothing new
        async with asyncio.timeout(5):
            await after.wait()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGUSR1)
    assert [(record.getMessage(), vars(record)["signal"]) for record in caplog.records] == [
        ("stop_requested", number.name),
        ("stop_hurried", number.name),
    ]


async def test_afterwards_signals_are_as_before() -> None:
    stopping = StopRequest()
    before = signal.getsignal(signal.SIGTERM)
    with stopping.on_signals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


async def test_a_node_that_is_drained_and_then_stopped_goes_on_draining(tmp_path: Path) -> None:
    config = write(tmp_path, SECRET.replace('token = "…"', f'token = "{TOKEN}"'))
    with running("serve", "--config", str(config), environ=ANY_PORT) as node:
        places: dict[str, str] = {}
        while "client" not in places:
            line = json.loads(await asyncio.to_thread(node.until, '"listening"'))
            places[line["listener"]] = f"http://127.0.0.1:{line['port']}"
        async with aiohttp.ClientSession() as http:
            # one that never reads its end holds the drain schedule up for some seconds
            ws = await http.ws_connect(f"{places['client']}/v1/realtime", protocols=["oscc.v1.json"])
            bearer = {"Authorization": f"Bearer {TOKEN}"}
            async with http.post(f"{places['admin']}/drain", headers=bearer) as answer:
                assert answer.status == 202
            await asyncio.to_thread(node.until, '"drain_started"')
            node.send(signal.SIGTERM)
            await asyncio.to_thread(node.until, '"stop_requested"')
            ended = await asyncio.to_thread(node.end, signal.SIGTERM)
            assert ended.code == 0
            events = [json.loads(each)["event"] for each in ended.out.splitlines()]
            assert events[-3:] == ["stop_requested", "stop_hurried", "stopped"]
            await ws.close()
