"""Canaries: no input of people and no data of phones in the log of a whole gateway."""

from __future__ import annotations

import asyncio
import io
import json

import aiohttp

from gateway.app import wiring
from gateway.app.config.sources import generate_secrets
from gateway.app.logging import configure
from gateway.app.process import StopRequest
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import Simulator, SimulatorSettings
from tests.app.samples import LOG_ON, settings_for

PASSWORD, NUMBER, DEVICE = "canary-password", "+493012345678", "canary-device"
REMOTE = {
    **LOG_ON,
    "application": "remote_assistant",
    "user_name": "agent1",
    "password": PASSWORD,
    "remote_number": NUMBER,
    "device": {"id": DEVICE, "name": DEVICE, "platform": DEVICE, "app_version": "1"},
}
BAD_FRAMES = ["{", '{"kind": "canary-kind"}', json.dumps({"kind": "pace", "every_s": "canary-value"})]


async def _live(http: aiohttp.ClientSession, client: str) -> list[str]:
    """Do right and wrong things; returns what must not be found afterwards."""
    url = f"{client}/v1/sessions?canary=query"
    for wrong in ({**REMOTE, "password": "canary-wrong"}, {**REMOTE, "user_name": "canary-name"}, {}):
        async with http.post(url, json=wrong) as refused:
            assert refused.status >= 400
    async with http.post(url, json=REMOTE) as created:
        answer = await created.json()
        assert created.status == 201
    token = str(answer["token"])
    async with http.get(f"{client}/v1/session", headers={"Authorization": "Bearer canary-token"}) as forged:
        assert forged.status == 401
    ws = await http.ws_connect(f"{client}/v1/realtime?canary=query", protocols=["oscc.v1.json"])
    phone = {"app": "canary-app", "version": "1", "platform": "canary-platform"}
    await ws.send_json({"kind": "hello", "token": token, "client": phone})
    await ws.receive_json()
    seen = json.dumps(await ws.receive_json())
    assert NUMBER[1:] in seen
    for frame in BAD_FRAMES:
        await ws.send_str(frame)
        await ws.receive()
    await ws.close()
    name = str(answer["user"]["display_name"])
    return [token, name, NUMBER, NUMBER[1:], NUMBER[-6:], PASSWORD, DEVICE, "agent1", "canary"]


async def test_the_log_of_a_whole_life_holds_no_canary_at_any_level(own_logging: None) -> None:
    written, secrets = io.StringIO(), generate_secrets()
    configure("debug", secrets.pseudonym_key, written)
    center = SimulatorSettings(agents=2, queues=1, users=1, password=PASSWORD)
    async with asyncio.timeout(30), aiohttp.ClientSession() as http, Simulator(center) as simulator:
        settings = settings_for(simulator.url)
        async with wiring.serving(settings, secrets, SystemClock(), StopRequest()) as addresses:
            canaries = await _live(http, addresses.client)
            async with http.get(f"{addresses.ops}/metrics") as response:
                metrics = await response.text()
    assert "drain_started" in written.getvalue()
    received = [json.loads(line) for line in written.getvalue().splitlines()]
    (over,) = [line for line in received if line["event"] == "session_closed"]
    assert (over["logger"], over["application"]) == ("gateway.session", "remote_assistant")
    for canary in canaries:
        assert canary not in written.getvalue()
        assert canary not in metrics
