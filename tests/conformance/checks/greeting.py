"""Checks: the first frame of a client, and the data that it requested."""

from __future__ import annotations

import asyncio

from tests.conformance.gateway import REALTIME
from tests.conformance.phone import Phone
from tests.conformance.registry import check, live
from tests.conformance.saying import changes
from tests.conformance.stage import SALES, Stage
from tests.conformance.timing import expect


@check("greeting.hello", "the first frame. `topics` are whole kinds")
async def hello(stage: Stage) -> None:
    """What a program wishes for stands in the hello, with the token and who asks."""
    phone = await stage.begin(topics=["queues", "agent:7"], pace_s=1, ping_s=20)
    said = await phone.receive("hello")
    expect(said.get("token") == "token-1", "the hello does not carry the token of the log-on")
    expect(said.get("topics") == ["queues", "agent:7"], f"the topics are {said.get('topics')}")
    expect((said.get("pace_s"), said.get("ping_s")) == (1, 20), "pace_s or ping_s is another one")
    expect("position" not in said or said["position"] is None, "a first hello has no position")
    client = said.get("client")
    named = isinstance(client, dict) and {"app", "version", "platform"} <= client.keys()
    expect(named, "client has no app, version and platform")


@check("greeting.no_token_in_url", "No token ever travels in a URL")
async def no_token_in_url(stage: Stage) -> None:
    """Neither the upgrade nor any other request names the token in its target."""
    await stage.live()
    await stage.driver.ask("log_off")
    targets = [asked.target for asked in stage.gateway.asked]
    expect(not any("token" in target for target in targets), f"a token in a URL: {targets}")
    upgrade = stage.gateway.requests("GET", REALTIME)[0]
    expect("?" not in upgrade.target, "the upgrade has a query")


@check("greeting.silent_before_welcome", "`hello` was accepted. Always followed by `changes`")
async def silent_before_welcome(stage: Stage) -> None:
    """Nothing but the hello is sent before the welcome, and nothing is in sync before the changes."""
    phone = await stage.begin()
    await phone.receive("hello")
    await phone.hears_nothing(0.5)
    await phone.welcome()
    await phone.settle()
    expect(not stage.driver.received("connected"), "the client is in sync before it received anything")
    await phone.send(changes(0, 5, stream="1.a", reset=True, put=dict(SALES)))
    await stage.driver.event("connected")


@check("greeting.slow_gateway", "The client gives up when no frame came for `ping_s` + 10 s.", scale=5.0)
async def slow_gateway(stage: Stage) -> None:
    """A gateway that takes 8 s to welcome and 8 s more to tell the state is waited for."""
    phone = await stage.begin()
    await phone.receive("hello")
    await stage.time.sleep(8.0)
    await phone.welcome()
    await stage.time.sleep(8.0)
    await phone.send(changes(0, 5, stream="1.a", reset=True, put=dict(SALES)))
    await stage.driver.event("connected")
    expect(len(stage.gateway.phones) == 1, "the client did not wait")


@live("greeting.follow", "replaces the topics; answered by `followed`")
async def follow(stage: Stage, phone: Phone) -> None:
    """The answer says what was granted; what is gained and left comes behind it."""
    answer = stage.driver.begin("follow", topics=["queue:2", "queue:99"])
    asked = await phone.receive("follow")
    expect(asked.get("topics") == ["queue:2", "queue:99"], f"the topics are {asked.get('topics')}")
    refused = [{"topic": "queue:99", "reason": "not_found"}]
    topics = {"granted": ["queue:2"], "refused": refused}
    await phone.send({"kind": "followed", "id": asked["id"], "topics": topics})
    put = {"queue:2": {"name": "Two"}}
    await phone.send(changes(5, 5, stream="1.b", put=put, gone=["queue:1"]))
    received = await stage.driver.answered(answer, "follow")
    expect(received == topics, f"the client reports {received}")
    await phone.ping(5)
    await stage.holds("the topics were replaced", queue__2={"name": "Two"})


@live("greeting.follow_lasts", "replaces the topics; answered by `followed`")
async def follow_lasts(stage: Stage, phone: Phone) -> None:
    """Topics asked for on a connection that was lost stand in the next hello, which answers the follow."""
    answer = stage.driver.begin("follow", topics=["groups"])
    await phone.receive("follow")
    phone.drop()
    again = await stage.greeted(topics=["groups"])
    await again.welcome(topics={"granted": ["groups"], "refused": []})
    await again.send(changes(0, 9, stream="2.c", reset=True, put={"group:1": {"name": "One"}}))
    await asyncio.sleep(0.2)
    if not answer.done():
        asked = await again.receive("follow")
        granted = {"granted": ["groups"], "refused": []}
        await again.send({"kind": "followed", "id": asked["id"], "topics": granted})
    received = await stage.driver.answered(answer, "follow")
    expect(received.get("granted") == ["groups"], f"the client reports {received}")


@check("greeting.follow_refused", "a frame could not be served; the connection stays open")
async def follow_refused(stage: Stage) -> None:
    """An error that names the follow is its answer, and the topics before it hold."""
    phone = await stage.live(topics=["queues"])
    answer = stage.driver.begin("follow", topics=["nonsense"])
    asked = await phone.receive("follow")
    await phone.send({"kind": "error", "id": asked["id"], "code": "bad_request", "message": "No such topic."})
    try:
        await stage.driver.answered(answer, "follow")
    except Exception as refusal:  # noqa: BLE001 - whatever the driver reports is looked at
        expect(getattr(refusal, "code", None) == "bad_request", f"the client reports {refusal!r}")
    else:
        expect(False, "the client reports that it was granted")
    await phone.ping(5)
    phone.drop()
    await stage.greeted(topics=["queues"])


@live("greeting.pace", "at most one state frame in that time")
async def pace(stage: Stage, phone: Phone) -> None:
    """A pace asked for is sent at once and holds for the next connection."""
    await stage.driver.ask("pace", every_s=5)
    expect((await phone.receive("pace")).get("every_s") == 5, "the pace is another one")
    phone.drop()
    await stage.greeted(pace_s=5)
