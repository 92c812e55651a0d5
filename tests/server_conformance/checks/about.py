"""Checks: a server's description of itself."""

from __future__ import annotations

import re
from typing import Final

from tests.server_conformance.registry import check
from tests.server_conformance.stage import Stage
from tests.server_conformance.verdicts import Skipped, expect

_FEATURES: Final = frozenset(
    {
        "Skills", "RoutingParameters", "PostProcessing.Start", "PostProcessing.Extend",
        "PostProcessing.Finish",
        "PostProcessing.SetAuto", "RemoteAgent", "LinkFencing", "RequestKeys",
    }
)  # fmt: skip


@check("about.answers", "About", "`GET /oscce/v1/about` answers")
async def answers(stage: Stage) -> None:
    """The route needs no log-on, and every field has its type."""
    await stage.success("GET", "/about")


@check(
    "about.versions",
    "About",
    "The gateway accepts V2R1 and higher with V8R2 and higher.",
)
async def versions(stage: Stage) -> None:
    """Versions are compared by their numbers: V10R0 is higher than V9R9."""
    body = (await stage.http("GET", "/about")).body or {}
    for field, oldest in (("ExtensionsVersion", (2, 1)), ("ContactCenterVersion", (8, 2))):
        received = str(body.get(field))
        found = re.fullmatch(r"V([0-9]{1,4})R([0-9]{1,4})", received)
        expect(found is not None, f"{field} is {received!r}")
        expect(found is not None and (int(found[1]), int(found[2])) >= oldest, f"{field} is {received}")


@check("about.features", "About", "A command whose feature is missing is not offered.")
async def features(stage: Stage) -> None:
    """A feature whose name is nearly one of the page counts as missing, and its command is never offered."""
    received = stage.about.get("Features") or ()
    near = {name.lower().replace(".", "").replace("-", ""): name for name in _FEATURES}
    for name in received:
        meant = near.get(str(name).lower().replace(".", "").replace("-", ""))
        expect(name in _FEATURES or meant is None, f"the feature {name} is spelled {meant}")


@check(
    "about.instance",
    "About",
    "It is the same in all three while\nthe server keeps its sessions",
    dashboards=1,
)
async def instance(stage: Stage) -> None:
    """ServerInstance is the same wherever it is sent."""
    body = await stage.success("GET", "/about")
    session = await stage.dashboard()
    link = await stage.open(session)
    received = {
        "about": body.get("ServerInstance"),
        "the log-on": session.body.get("ServerInstance"),
        "LinkOpened": link.opened.get("ServerInstance"),
    }
    received = {where: value for where, value in received.items() if value is not None}
    if len(received) < 2:
        raise Skipped("the server reports no ServerInstance, or reports it in one place")
    expect(len(set(received.values())) == 1, f"ServerInstance is reported as {received}")
