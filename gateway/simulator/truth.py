"""Present state, in the form of the link, for comparisons.

For tests that compare it with what a gateway shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.simulator.changes import Kind
from gateway.simulator.directory import DIRECTORY_KINDS
from gateway.simulator.elements import render
from gateway.simulator.model import Json
from gateway.simulator.subscriptions import of_kind, scope_json

if TYPE_CHECKING:
    from gateway.simulator.server import Simulator


def truth(simulator: Simulator) -> Json:
    """Return every element as it would be sent, the directory, and the server's time.

    ``Own`` holds, by user key, remote agents as they see themselves.
    """
    center = simulator.center
    scope = center.directory.everything()
    found: Json = {"Time": center.wall_ms}
    for kind in Kind:
        elements = (render(center, kind, key) for key in sorted(of_kind(scope, kind)))
        found[kind.value] = [element for element in elements if element is not None]
    found["Own"] = {
        str(agent.key): render(center, Kind.USER, agent.key, own=True)
        for agent in center.directory.agents.values()
        if agent.remote is not None
    }
    found["Directory"] = center.directory.query(DIRECTORY_KINDS, scope)
    return found


def users(simulator: Simulator) -> Json:
    """Return log-ons to try."""
    return {
        "Users": [
            {
                "UserName": each.user_name,
                "Password": simulator.settings.password,
                "Key": each.key,
                "FirstName": each.first_name,
                "LastName": each.last_name,
                "Applications": each.applications,
                "Rights": each.dashboard_rights,
                "Scope": scope_json(each.scope),
                "AgentKey": each.agent_key,
                "Blocked": each.blocked,
            }
            for each in simulator.accounts.by_name.values()
        ]
    }


def links(simulator: Simulator) -> Json:
    """Return what was counted of links and requests, and the live sessions without their secrets."""
    keys = simulator.requests.keys
    return {
        "Links": {
            name: {
                "Present": len(line.present),
                "MostAtOnce": line.most_at_once,
                "Opens": line.opens,
                "Replacements": line.replacements,
                "Refusals": line.refusals,
                "Token": line.token,
                "LongestGap": line.longest_gap_ms,
            }
            for name, line in simulator.links.counts().items()
        },
        "Sessions": [
            {
                "ID": each.public_id,
                "UserName": each.account.user_name,
                "Application": each.application,
                "Attached": each.link_id is not None,
                "Present": each.present,
            }
            for each in simulator.sessions
        ],
        "LogOns": simulator.sessions.log_ons,
        "LogOnAttempts": simulator.accounts.attempts,
        "Executed": simulator.requests.executed,
        "Keys": {"Seen": keys.keys, "CameAgain": keys.again, "ExecutedTwice": keys.twice},
        "PublishedChanges": simulator.board.published_changes,
        "CutForSlowness": simulator.doors.cut_slow,
    }
