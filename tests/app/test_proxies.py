"""Are proxies that cut quiet phones found, and ours not taken for such?"""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.app.proxies import LEAST_S, judged, pauses, unknown

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.parametrize("name", ["haproxy/haproxy.cfg", "nginx/nginx.conf"])
def test_our_own_examples_bear_with_quiet_phones(name: str) -> None:
    told, faults = judged(DEPLOY / name)
    assert faults == []
    assert any(line.endswith("3600 s") for line in told)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("  timeout client 30s\n  timeout server 1m\n", [("timeout client", 30), ("timeout server", 60)]),
        ("timeout client 30s\ntimeout  tunnel 90000 # ms\n", [("timeout tunnel", 90)]),
        ("proxy_read_timeout 75;\nproxy_read_timeout 10s;", [("proxy_read_timeout", 75)]),
        ("# timeout tunnel 1h\ntimeout connect 5s\n", []),
    ],
)
def test_times_are_read_as_the_proxies_read_them(text: str, found: list[tuple[str, float]]) -> None:
    assert pauses(text) == found


@pytest.mark.parametrize(("seconds", "count"), [(LEAST_S - 1, 1), (LEAST_S, 0)])
def test_one_that_waits_no_longer_than_a_phone_is_quiet_is_a_fault(
    tmp_path: Path, seconds: float, count: int
) -> None:
    path = tmp_path / "proxy.cfg"
    path.write_text(f"timeout tunnel {seconds:.0f}s\n")
    _, faults = judged(path)
    assert len(faults) == count
    assert all("so the proxy cuts phones that are quiet: set it to 60 s or more." in each for each in faults)


def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    path = tmp_path / "none.cfg"
    assert judged(path)[1] == [f"The proxy's file {path} cannot be read: No such file or directory."]
    path.write_text("events {}")
    assert "sets none of timeout tunnel of HAProxy" in judged(path)[1][0]
    assert "wait 60 s or more" in unknown()
