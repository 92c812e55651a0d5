"""Both HTTP APIs answer as their documents say, whatever is requested.

Schemathesis makes the questions from the documents that the gateway publishes: such as they allow, and such
as they do not. A whole node before a simulated OSCC-E Server answers.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.app.config.sources import generate_secrets
from gateway.app.process import StopRequest
from gateway.app.wiring import serving
from gateway.protocol.openapi import admin_openapi, openapi
from gateway.runtime.event_loop import SystemClock
from gateway.simulator import Simulator, SimulatorSettings
from tests.app.samples import LOG_ON, settings_for

EXAMPLES = min(10, settings().max_examples // 5)
TOKEN = "canary-token-of-operators-0123456789"
ASKED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
LEFT_OUT = {"POST /drain", "DELETE /v1/session"}
"""The node would leave; the session would end. Both are asked in other tests."""


class Doors(NamedTuple):
    """Where to ask, and what opens."""

    client: str
    admin: str
    token: str


@contextmanager
def opened() -> Iterator[Doors]:
    """Run a node in a thread of its own while the block lasts."""
    ready: list[tuple[str, str, asyncio.AbstractEventLoop, asyncio.Event]] = []
    there = threading.Event()

    async def live() -> None:
        async with Simulator(SimulatorSettings(agents=3, queues=2, users=2)) as centre:
            many = dict.fromkeys(("handshakes_per_s_of_address", "handshakes_burst_of_address"), 100_000)
            made = settings_for(centre.url, admin={"token": TOKEN}, limits={"drain_s": 0, **many})
            async with serving(made, generate_secrets(), SystemClock(), StopRequest()) as at:
                over = asyncio.Event()
                ready.append((at.client, str(at.admin), asyncio.get_running_loop(), over))
                there.set()
                await over.wait()

    thread = threading.Thread(target=asyncio.run, args=(live(),), daemon=True)
    thread.start()
    assert there.wait(20), "the node did not start"
    client, admin, loop, over = ready[0]
    token = _logged_on(client)
    try:
        yield Doors(client, admin, token)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(20)


def _logged_on(client: str) -> str:
    connection = http.client.HTTPConnection(client.removeprefix("http://"), timeout=10)
    connection.request("POST", "/v1/sessions", json.dumps(LOG_ON), {"Content-Type": "application/json"})
    token = str(json.load(connection.getresponse())["token"])
    connection.close()
    return token


@pytest.fixture(scope="module")
def doors() -> Iterator[Doors]:
    with opened() as at:
        yield at


def ask(document: dict[str, Any], url: str, headers: dict[str, str], mode: GenerationMode) -> int:
    """Ask every operation of *document* what it allows, or what not; returns how often.

    Raises:
        schemathesis.errors: An answer is another than the document says.
    """
    asked = 0
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(found, Ok), "the document cannot be read"
        operation = found.ok()
        if operation.label in LEFT_OUT:
            continue

        @settings(
            max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def one(case: Any) -> None:  # noqa: ANN401 - a case of schemathesis
            nonlocal asked
            asked += 1
            case.call_and_validate(base_url=url, headers=headers, checks=ASKED, timeout=10)

        try:
            one()
        except Unsatisfiable:
            continue  # what takes nothing cannot be asked wrongly
    return asked


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_client_api_answers_as_it_says(doors: Doors, mode: GenerationMode) -> None:
    assert ask(openapi(), doors.client, {"Authorization": f"Bearer {doors.token}"}, mode) > 20


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_admin_api_answers_as_it_says(doors: Doors, mode: GenerationMode) -> None:
    assert ask(admin_openapi(), doors.admin, {"Authorization": f"Bearer {TOKEN}"}, mode) > 10


def _promise_less(document: dict[str, Any]) -> None:
    del document["paths"]["/v1/about"]["get"]["responses"]["200"]


def _promise_another_shape(document: dict[str, Any]) -> None:
    answers = document["paths"]["/v1/notices"]["get"]["responses"]["200"]["content"]
    answers["application/json"]["schema"] = {"type": "object", "required": ["canary"]}


@pytest.mark.parametrize("fault", [_promise_less, _promise_another_shape])
def test_a_document_that_says_something_else_is_found(
    doors: Doors, fault: Callable[[dict[str, Any]], None]
) -> None:
    document = json.loads(json.dumps(openapi()))
    fault(document)
    document["paths"] = {path: document["paths"][path] for path in ("/v1/about", "/v1/notices")}
    with pytest.raises(FailureGroup):
        ask(document, doors.client, {}, GenerationMode.POSITIVE)
