"""Is nginx's configuration read as nginx reads it, as far as a path's way goes?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.app.cli.doctor import Block, parse_nginx, ways

PATH = "/v1/realtime"


def tree(block: Block) -> list[object]:
    return [[*each.words, *([tree(each)] if each.inner else [])] for each in block.inner]


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("a 1; b 2;\nc;", [["a", "1"], ["b", "2"], ["c"]]),
        ("a{b 1;c{d;}}e;", [["a", [["b", "1"], ["c", [["d"]]]]], ["e"]]),
        ("a '# not; {a} comment'; # b 2;\nc\n3\n;", [["a", "# not; {a} comment"], ["c", "3"]]),
        (r'a "say \"no\";" b\;c;', [["a", r"say \"no\";", r"b\;c"]]),
        ("set $a ${b}c; d;", [["set", "$a", "${b}c"], ["d"]]),
        ("a#b;", [["a#b"]]),
        ("} a; { b 1; } c { d;", [["a"], ["c", [["d"]]]]),
    ],
)
def test_directives_are_told_apart(text: str, read: list[object]) -> None:
    assert tree(parse_nginx(text)) == read


def test_a_directive_knows_its_line() -> None:
    root = parse_nginx("a;\n# x\nb {\n  c\n    1; d;\n}\n")
    b = root.inner[1]
    assert [(each.name, each.line) for each in (*root.inner, *b.inner)] == [
        ("a", 1),
        ("b", 3),
        ("c", 5),
        ("d", 5),
    ]


def chosen(*locations: str) -> str | None:
    """Return the arguments of the location that is chosen among those."""
    text = "".join(f"location {each} {{ proxy_pass http://n; }}" for each in locations)
    found = ways(parse_nginx(f"http {{ server {{ {text} }} }}"), PATH)
    return " ".join(found[0][-1].words[1:]) if found else None


@pytest.mark.parametrize(
    ("locations", "wins"),
    [
        (("/", "/v1", "/v1/sessions"), "/v1"),
        (("/v1/realtime", "= /v1/realtime"), "= /v1/realtime"),
        (("=/v1/realtime", "~ ^/"), "=/v1/realtime"),
        (("/v1/realtime", "~ ^/v2", "~* ^/V1/", "~ ^/v1"), "~* ^/V1/"),
        (("^~ /v1/", "~ ^/v1"), "^~ /v1/"),
        (("/v1/realtime", "~ ^/V1"), "/v1/realtime"),
        (("/", "~ (broken"), "/"),
        (("@later", "/"), "/"),
        (("/v2",), None),
    ],
)
def test_of_locations_that_is_chosen_which_nginx_chooses(
    locations: tuple[str, ...], wins: str | None
) -> None:
    assert chosen(*locations) == wins


def test_a_way_has_all_blocks_around_it() -> None:
    text = """
    events { worker_connections 5; }
    http {
        server { listen 80; location / { return 301 https://x; } }
        server { listen 443; location /v1/ { location /v1/realtime { if ($a) { proxy_pass http://n; } } } }
    }"""
    (way,) = ways(parse_nginx(text), PATH)
    assert [each.words for each in way] == [
        (),
        ("http",),
        ("server",),
        ("location", "/v1/"),
        ("location", "/v1/realtime"),
    ]


def test_servers_that_do_not_name_the_path_are_not_meant_where_others_do() -> None:
    other = "server { location / { proxy_pass http://other; } }"
    named = "server { location /v1/ { proxy_pass http://n; } }"
    assert len(ways(parse_nginx(other + other), PATH)) == 2
    assert [way[-1].words[1] for way in ways(parse_nginx(other + named), PATH)] == ["/v1/"]


def test_a_part_of_a_server_is_one() -> None:
    (way,) = ways(parse_nginx("location / { proxy_pass http://n; }"), PATH)
    assert [each.name for each in way] == ["", "location"]
    assert ways(parse_nginx("http { include sites/*; }"), PATH) == []


@given(st.text(st.sampled_from(list("a ;{}#'\"\\$\n/=~location server proxy_pass"))))
def test_whatever_is_in_a_file_is_read(text: str) -> None:
    ways(parse_nginx(text), PATH)
