"""Runbook: an entry for every alert, and only names that exist."""

from __future__ import annotations

import re
from typing import Final

from docs._generate.metrics import VALUES, measured
from gateway.app.cli import parser
from gateway.app.config.errors import SETTINGS
from tests.deploy.expressions import alerts
from tests.deploy.programs import ROOT

FILE: Final = ROOT / "docs" / "runbook.md"
PAGE: Final = FILE.read_text("utf-8")
PARTS: Final = ("Means", "People see", "Look at", "Do", "Afterwards")
NAMED: Final = re.compile(r"`([a-z][a-z0-9_]+)(?:\{([a-z_,]+)\})?`")
WORDS: Final = {
    *("unavailable", "version_unsupported", "session_unknown", "over_capacity", "rate_limited", "bus_down"),
    *("upstream_unavailable", "upstream_version_unsupported", "function_unavailable", "busy", "drain"),
    *("early", "expired", "unknown", "network", "in_sync", "since", "reset", "foreign"),
    *("slo", "what", "runbook_url", "maxmemory"),
    *(*VALUES["handshakes.result"], *VALUES["bus_unopened.reason"]),
    *("asterisk_lost", "cause", "name_unknown", "protocol", "rights", "wrong_secret"),
    *("haproxy_frontend_intercepted_requests_total", "phones", "bind", "info", "notice"),
    *("bus_refuses", "file_limit_reached", "server_time_ms", "dns", "timeout", "tls", "doctor", "serve"),
    *("log_offs_unconfirmed", "login_in_use", "reason", "refused", "sealing_keys_differ", "used_memory"),
}
"""Values and names of others, which are no metrics."""


def sections() -> dict[str, str]:
    """Return heading → text of each section."""
    found = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def test_every_alert_has_its_section_in_the_order_of_the_rules() -> None:
    assert list(sections()) == list(alerts())


def test_an_alert_leads_to_its_section() -> None:
    for alert, rule in alerts().items():
        path, _, place = rule["annotations"]["runbook_url"].partition("#")
        assert ROOT / path == FILE
        assert place == anchor(alert)


def test_a_section_says_what_it_means_what_to_look_at_and_what_to_do() -> None:
    for name, text in sections().items():
        assert tuple(re.findall(r"^\*\*([A-Z][a-z ]+)\.\*\*\s", text, re.MULTILINE)) == PARTS, name


def test_links_lead_somewhere() -> None:
    places = {*map(anchor, sections()), *re.findall(r'<a id="([a-z-]+)"></a>', PAGE)}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        path, _, place = target.partition("#")
        assert not path or (FILE.parent / path).exists(), target
        assert path or place in places, target


def strange(text: str) -> list[str]:
    """Return what *text* names as a metric that is none, or none with those labels."""
    there = {one.shown: ",".join(one.labels) for one in measured()}
    return [name for name, labels in NAMED.findall(text) if name not in WORDS and there.get(name) != labels]


def test_metrics_are_named_as_they_are() -> None:
    assert strange("".join(sections().values())) == []


def test_a_metric_that_is_none_would_be_found() -> None:
    assert strange("`frames_total` `frames` `links` `links{state}` `links{what}`") == [
        "frames",
        "links",
        "links",
    ]


def test_settings_and_commands_are_named_as_they_are() -> None:
    settings = {setting.path for setting in SETTINGS}
    named = set(re.findall(r"`((?:limits|app|bus|client)\.[a-z_]+)`", PAGE))
    assert named - settings == set()
    assert named
    (commands,) = [action.choices for action in parser()._actions if isinstance(action.choices, dict)]
    called = set(re.findall(r"`oscc-gateway ([a-z-]+)", PAGE))
    assert called - commands.keys() == set()
    assert len(called) > 5


def test_each_way_in_which_a_number_ends_has_the_test_that_the_page_names() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    named = re.findall(r"\*(left|returns)\*\s((?:`[a-z_…]+`(?:,\s)?)+)", page)
    assert len(named) > 15
    for which, names in named:
        tests = (ROOT / "tests" / "scenarios" / f"test_no_number_{which}.py").read_text("utf-8")
        assert [name for name in re.findall(r"`…?([a-z_]+)…?`", names) if name not in tests] == []
