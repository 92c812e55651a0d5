"""Types of settings: what each accepts, and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from gateway.app.config import settings as types
from gateway.app.keys import SealingKey, SecretKey
from tests.app.samples import KEY

CASES: Mapping[str, tuple[Any, tuple[object, ...], tuple[object, ...]]] = {
    "port": (types.Port, (0, 1, 65_535, "80"), (-1, 65_536, "x", 1.5)),
    "host": (types.Host, ("::1", "gateway"), ("", "x" * 256)),
    "password": (types.Password, ("x",), ("", 5)),
    "secret_key": (types.SecretKeyText, (KEY,), ("", "x", 5, KEY[:-4])),
    "sealing_key": (types.SealingKeyText, (f"k1:{KEY}",), (KEY, f"K1:{KEY}", f":{KEY}", "k1:", 5)),
    "network": (types.Network, ("10.0.0.0/8", "::1", "10.1.2.3"), ("10.0.0.1/8", "x", "", None)),
    "origin": (
        types.Origin,
        ("https://a.example", "http://localhost:3000"),
        ("null", "*", "https://a.example/", "ftp://a", "https://A.example", "https://u@a", "a.example"),
    ),
    "site_name": (types.SiteName, ("main", "a-1"), ("", "Main", "a:b", "a{b", "x" * 33, "-a", "a_b")),
    "site_url": (
        types.SiteUrl,
        ("https://a", "http://127.0.0.1:8443/x"),
        ("a", "ftp://a", "https://", "https://u:p@a", "https://a?x", "https://a#x"),
    ),
    "page_url": (types.PageUrl, ("https://a/b?c",), ("http://a", "a", "https://")),
    "country": (types.Country, ("DE", "GB"), ("de", "XX", "Germany", "")),
    "number_prefix": (
        types.NumberPrefix,
        ("+4", "+4331", "+49301234567", "+" + "1" * 15),
        ("", "+", "49", "0049", "+0", "+49 30", "+49(0)30", "+" + "1" * 16, "+٤٩", "+49x", "+49\n"),
    ),
    "app_minimum": (types.AppMinimum, ("android=1.2.0", "ios=3"), ("android", "Android=1", "ios=a", "=1")),
    "node_name": (
        types.NodeName,
        ("n1", "gw-0.example", "A_b", "x" * 64),
        ("", "-n", "a b", "a:b", "a{b", "x" * 65, "n\n", "ü"),
    ),
    "bus_url": (types.BusUrl, ("memory://", "redis://h"), ("memory", "redi://h", "")),
}
GOOD = [(name, value) for name, (_, good, _) in CASES.items() for value in good]
BAD = [(name, value) for name, (_, _, bad) in CASES.items() for value in bad]


def _adapter(name: str) -> TypeAdapter[object]:
    return TypeAdapter(CASES[name][0])


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_it_takes_what_it_should(name: str, value: object) -> None:
    _adapter(name).validate_python(value)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_it_refuses_the_rest(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        _adapter(name).validate_python(value)


def test_values_become_what_they_mean() -> None:
    assert _adapter("network").validate_python("10.1.2.3") == ip_network("10.1.2.3/32")
    assert _adapter("site_url").validate_python("https://a/") == "https://a"
    sealing = _adapter("sealing_key").validate_python(f"k1:{KEY}")
    assert sealing == SealingKey("k1", SecretKey(bytes(range(32))))


def test_a_path_counts_from_the_given_folder() -> None:
    adapter = TypeAdapter(types.File)
    assert adapter.validate_python("a/b", context=Path("/etc")) == Path("/etc/a/b")
    assert adapter.validate_python("/a/b", context=Path("/etc")) == Path("/a/b")
    assert adapter.validate_python("a/b") == Path("a/b")


def test_dumps_hide_what_is_secret() -> None:
    dumps = [
        _adapter("sealing_key").dump_python(SealingKey("k1", SecretKey(bytes(32))), mode="json"),
        _adapter("secret_key").dump_python(SecretKey(bytes(32)), mode="json"),
        _adapter("bus_url").dump_python("rediss://user:canary@host/0", mode="json"),
    ]
    assert dumps == ["k1:********", "********", "rediss://********@host/0"]


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("unix:/run/admin.sock", Path("/run/admin.sock")),
        ("unix:admin.sock", None),
        ("unix:", None),
        ("/run/admin.sock", None),
        ("127.0.0.1", None),
        ("::1", None),
    ],
)
def test_a_socket_is_named_by_a_whole_path(host: str, path: Path | None) -> None:
    assert types.socket_path(host) == path
