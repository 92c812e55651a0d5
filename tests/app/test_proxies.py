"""Are proxies that cut quiet phones found, and ours not taken for such?"""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gateway.app.cli.doctor import LEAST_S, judged_file, pauses, unknown_proxy

TUNNEL, CLIENT, SERVER = "timeout tunnel", "timeout client", "timeout server"
READ, SEND = "proxy_read_timeout", "proxy_send_timeout"
HOUR = "defaults\n timeout tunnel 1h\n"
NAMED = "defaults a\n timeout tunnel 9s\ndefaults b\n"
CLOSE = "defaults\n timeout client 9s\n timeout server 9s\n"
PASS = "proxy_pass http://n;"
DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.parametrize("name", ["haproxy/haproxy.cfg", "nginx/nginx.conf"])
def test_our_own_examples_bear_with_quiet_phones(name: str) -> None:
    told, faults = judged_file(DEPLOY / name)
    assert faults == []
    assert any(line.endswith("3600 s") for line in told)


def times(text: str) -> list[tuple[str, float]]:
    return [(each.name, each.seconds) for each in pauses(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("  timeout client 30s\n  timeout server 1m\n", [(CLIENT, 30), (SERVER, 60)]),
        ("timeout client 30s\ntimeout  tunnel 90000 # ms\n", [(TUNNEL, 90)]),
        ("# timeout tunnel 1h\ntimeout connect 5s\n", []),
        ("timeout tunnel 0\ntimeout client 0\ntimeout server 5s\n", [(CLIENT, math.inf), (SERVER, 5)]),
        (f"{HOUR}backend n\n timeout tunnel 10s\n server a b\n", [(TUNNEL, 10)]),
        (f"{HOUR}backend n\n server a b\nbackend m\n timeout tunnel 9s\n", [(TUNNEL, 3600)]),
        ("backend a\n server a b\n timeout server 9s\n" + f"{HOUR}listen b\n server c d\n", [(TUNNEL, 3600)]),
        (f"{NAMED}listen n from a\n server a b\n", [(TUNNEL, 9)]),
        (f"{NAMED}listen n\n server a b\n", []),
        (f"{CLOSE}frontend f\n timeout client 2m\n", [(CLIENT, 120), (SERVER, 9)]),
        (f"{CLOSE}backend b\n server a b\n timeout server 3m\n", [(CLIENT, 9), (SERVER, 180)]),
    ],
)
def test_times_are_read_as_haproxy_reads_them(text: str, found: list[tuple[str, float]]) -> None:
    assert times(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("proxy_read_timeout 75;\nproxy_send_timeout 1m30s;", [(READ, 75), (SEND, 90)]),
        ("proxy_read_timeout 75s; proxy_send_timeout 80s;", [(READ, 75), (SEND, 80)]),
        ("http { proxy_read_timeout 10s; include sites/*; }", [(READ, 10)]),
        (f"server {{ location / {{ {PASS} }} }}", [(READ, 60), (SEND, 60)]),
        (
            (
                f"http {{ proxy_read_timeout 1h; server {{ location / {{ proxy_read_timeout 2h; {PASS} }}"
                f" location /v1/realtime {{ proxy_read_timeout 10s; {PASS} }} }} }}"
            ),
            [(READ, 10), (SEND, 60)],
        ),
        (
            (
                f"http {{ proxy_read_timeout 9s; server {{ proxy_read_timeout 1h;"
                f" location /v1/realtime {{ {PASS} # proxy_read_timeout 5s;\n }} }} }}"
            ),
            [(READ, 3600), (SEND, 60)],
        ),
        ("server { location / { proxy_read_timeout '5s'; return 200 'proxy_read_timeout 1h;'; } }", []),
        (f"location / {{ proxy_read_timeout later; {PASS} }}", [(READ, 60), (SEND, 60)]),
    ],
)
def test_times_are_read_as_nginx_reads_them_where_streams_pass(
    text: str, found: list[tuple[str, float]]
) -> None:
    assert times(text) == found


def test_what_nginx_does_by_itself_is_no_fault_and_told(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text("server { location / { proxy_pass http://n; } }")
    told, faults = judged_file(path)
    assert faults == []
    assert told[0] == f"{path}: proxy_read_timeout 60 s by default"


def test_a_short_time_where_streams_pass_is_a_fault_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "nginx.conf"
    path.write_text(
        "server {\n location = /v1/realtime {\n proxy_pass http://n; proxy_read_timeout 30s;\n }\n"
        " location / { proxy_pass http://n; proxy_read_timeout 1h; }\n}"
    )
    _, faults = judged_file(path)
    cuts = "so the proxy cuts phones that are quiet: set it to 60 s or more."
    assert faults == [f"{path}, line 3: proxy_read_timeout 30 s, {cuts}"]


@pytest.mark.parametrize(("seconds", "count"), [(LEAST_S - 1, 1), (LEAST_S, 0)])
def test_one_that_waits_no_longer_than_a_phone_is_quiet_is_a_fault(
    tmp_path: Path, seconds: float, count: int
) -> None:
    path = tmp_path / "proxy.cfg"
    path.write_text(f"timeout tunnel {seconds:.0f}s\n")
    _, faults = judged_file(path)
    assert len(faults) == count
    assert all("so the proxy cuts phones that are quiet: set it to 60 s or more." in each for each in faults)


def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    path = tmp_path / "none.cfg"
    assert judged_file(path)[1] == [f"The proxy's file {path} cannot be read: No such file or directory."]
    path.write_text("events {}")
    assert "sets none of timeout tunnel of HAProxy" in judged_file(path)[1][0]
    assert "wait 60 s or more" in unknown_proxy()
