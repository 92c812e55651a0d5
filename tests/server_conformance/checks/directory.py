"""Checks: the directory has all objects, for sessions that may see them."""

from __future__ import annotations

from typing import Any, Final

from tests.server_conformance.link import Link
from tests.server_conformance.registry import of_agent, of_dashboard
from tests.server_conformance.stage import Stage, own_agent
from tests.server_conformance.verdicts import Skipped, expect

KINDS: Final = (
    "User", "Queue", "Group", "Aggregate", "Skill", "UnavailableReason", "WorkReason", "PostProcessingReason",
    "WrapupReason", "RoutingParameter",
)  # fmt: skip
REASONS: Final = KINDS[5:9]
_SCOPED: Final = {"User": "Users", "Queue": "Queues", "Group": "Groups", "Aggregate": "Aggregates"}
_ONLY: Final = "`Objects:{kind:[…]}`, all objects in the union of scopes and no others."


async def objects(link: Link, *kinds: str) -> dict[str, list[dict[str, Any]]]:
    """Return the directory."""
    answer = await link.done("QueryDirectory", Kinds=list(kinds or KINDS))
    received: dict[str, list[dict[str, Any]]] = answer.body["Objects"]
    return {kind: received.get(kind) or [] for kind in kinds or KINDS}


@of_dashboard("directory.whole", "Messages", _ONLY)
async def whole(stage: Stage, link: Link) -> None:
    """Every object in the scope has an entry."""
    received, scope = await objects(link), link.opened["Session"]["Scope"]
    for kind, part in _SCOPED.items():
        gone = sorted(set(scope.get(part) or ()) - {each["Key"] for each in received[kind]})
        expect(not gone, f"{kind} {gone[:5]} is in the scope and not in the directory")


@of_agent("directory.scope", "Messages", _ONLY)
async def scope(stage: Stage, link: Link) -> None:
    """An agent receives no object outside its scope."""
    received, seen = await objects(link), link.opened["Session"]["Scope"]
    for kind, part in _SCOPED.items():
        foreign = sorted({each["Key"] for each in received[kind]} - set(seen.get(part) or ()))
        expect(not foreign, f"the directory reports {kind} {foreign[:5]}, which is not in the scope")
    expect(
        own_agent(link) in {each["Key"] for each in received["User"]}, "an agent is not in its own directory"
    )


@of_dashboard("directory.reasons", "Messages", "(keys unique over all reason kinds;")
async def reasons(stage: Stage, link: Link) -> None:
    """The key of a reason identifies its kind."""
    received = await objects(link, *REASONS)
    keys = [each["Key"] for kind in REASONS for each in received[kind]]
    expect(len(keys) == len(set(keys)), "two reasons have the same key")


@of_dashboard("directory.kinds", "Messages", _ONLY)
async def kinds(stage: Stage, link: Link) -> None:
    """A request for skills is answered with skills only."""
    answer = await link.done("QueryDirectory", Kinds=["Skill"])
    more = [kind for kind, received in answer.body["Objects"].items() if kind != "Skill" and received]
    expect(not more, f"asked for skills, received {more}")


@of_dashboard(
    "directory.skills_of_queues",
    "Messages",
    "`Key,Name,Media,SkillKeys?` (the skills that an agent needs to serve it)",
)
async def skills_of_queues(stage: Stage, link: Link) -> None:
    """A queue needs skills that exist."""
    received = await objects(link, "Queue", "Skill")
    needed = {each["Key"]: set(each.get("SkillKeys") or ()) for each in received["Queue"]}
    if not any(needed.values()):
        raise Skipped("the server reports no SkillKeys")
    known = {each["Key"] for each in received["Skill"]}
    missing = {queue: sorted(keys - known) for queue, keys in needed.items() if keys - known}
    expect(not missing, f"SkillKeys name skills that the directory does not have, by queue: {missing}")
