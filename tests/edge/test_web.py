"""Web client: served unchanged, and again as soon as it changes."""

from __future__ import annotations

import re

import pytest

from gateway.edge.routes import POLICY, WebClient
from tests.edge.visits import Gateway

TEXTS = {
    "index.html": b"<!doctype html>",
    "app.css": b"a{}",
    "main.js": b"1",
    "sw.js": b"work()",
    "notes.md": b"not for browsers",
}


@pytest.mark.parametrize("path", ["/", "/app"])
async def test_the_door_leads_to_the_client(gateway: Gateway, path: str) -> None:
    answer = await gateway.client.get(path, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (302, "/app/")


async def test_every_file_is_served_under_its_policy(gateway: Gateway) -> None:
    files = WebClient().files
    assert {"index.html", "main.js", "app.css", "sw.js", "oscc-client.js", "app.webmanifest"} <= files.keys()
    for name, file in files.items():
        answer = await gateway.client.get(f"/app/{name}")
        assert (answer.status, answer.headers["Content-Type"]) == (200, file.content_type), name
        assert await answer.read() == file.body
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "camera=()" in answer.headers["Permissions-Policy"]
        assert answer.headers.get("Service-Worker-Allowed") == ("/app/" if name == "sw.js" else None)


async def test_the_folder_itself_is_the_page_and_head_has_the_length_only(gateway: Gateway) -> None:
    answer = await gateway.client.get("/app/")
    assert await answer.read() == WebClient().files["index.html"].body
    answer = await gateway.client.head("/app/main.js")
    length = len(WebClient().files["main.js"].packed or b"")
    assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, str(length), b"")


async def test_what_is_no_part_of_the_client_is_not_there(gateway: Gateway) -> None:
    for name in ("nothing.js", "..%2fserver.py", "%2e%2e/server.py", "notes.md", "a/b.js"):
        answer = await gateway.client.get(f"/app/{name}")
        assert (answer.status, (await answer.json())["code"]) == (404, "not_found"), name


@pytest.mark.parametrize(
    ("offer", "packed"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.000", False), ("br", False)],
)
async def test_files_are_sent_compressed_where_taken(gateway: Gateway, offer: str, packed: bool) -> None:
    file = WebClient().files["oscc-client.js"]
    answer = await gateway.client.get("/app/oscc-client.js", headers={"Accept-Encoding": offer})
    assert await answer.read() == file.body  # the test's client opens it
    assert (answer.headers.get("Content-Encoding") == "gzip") is packed
    assert answer.headers["Vary"] == "Accept-Encoding"
    length = int(answer.headers["Content-Length"])
    assert length < len(file.body) * 0.4 if packed else length == len(file.body)
    again = await gateway.client.get(
        "/app/oscc-client.js", headers={"Accept-Encoding": offer, "If-None-Match": answer.headers["ETag"]}
    )
    assert again.status == 304
    other = "identity" if packed else "gzip"
    fresh = await gateway.client.get(
        "/app/oscc-client.js", headers={"Accept-Encoding": other, "If-None-Match": answer.headers["ETag"]}
    )
    assert fresh.status == 200


def test_texts_are_sent_in_less_than_two_fifths_of_their_length() -> None:
    texts = [file for name, file in WebClient().files.items() if name.endswith((".js", ".css", ".html"))]
    assert sum(len(file.packed or file.body) for file in texts) < 0.4 * sum(len(file.body) for file in texts)


async def test_a_cache_keeps_packed_files_apart_also_for_pages_with_an_origin(gateway: Gateway) -> None:
    answer = await gateway.client.get("/app/", headers={"Origin": "http://x", "Host": "x"})
    assert answer.headers["Access-Control-Allow-Origin"] == "http://x"
    assert answer.headers["Vary"] == "Accept-Encoding, Origin"


async def test_a_copy_that_is_the_newest_is_not_sent_again(gateway: Gateway) -> None:
    tag = (await gateway.client.get("/app/app.css")).headers["ETag"]
    for known in (tag, f'"older", {tag}', "*"):
        again = await gateway.client.get("/app/app.css", headers={"If-None-Match": known})
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)
        assert again.headers["Content-Security-Policy"] == POLICY
    other = await gateway.client.get("/app/app.css", headers={"If-None-Match": '"older"'})
    assert (other.status, other.headers["ETag"]) == (200, tag)


def test_the_worker_names_all_known_files_but_itself_and_changes_with_each() -> None:
    assert WebClient(TEXTS).files.keys() == {"index.html", "app.css", "main.js", "sw.js"}
    worker = WebClient(TEXTS).files["sw.js"].body.decode()
    assert worker.endswith("work()")
    assert 'const FILES = ["./", "app.css", "main.js"];' in worker
    workers = {
        WebClient({**TEXTS, **changed}).files["sw.js"].body
        for changed in ({}, {"main.js": b"2"}, {"sw.js": b"rest()"}, {"app.css": b"a{ }"})
    }
    assert len(workers) == 4
    assert WebClient(TEXTS).files["sw.js"].body in workers
    assert WebClient({**TEXTS, "notes.md": b"else"}).files == WebClient(TEXTS).files


def test_the_page_names_the_version_of_its_worker_if_there_is_one() -> None:
    files = WebClient({**TEXTS, "index.html": b'<html lang="en">'}).files
    version = re.search(rb"VERSION = '(\w+)'", files["sw.js"].body)
    assert version is not None
    assert files["index.html"].body == b'<html data-version="%s" lang="en">' % version[1]
    files = WebClient({"index.html": b"page"}).files
    assert files["index.html"].body == b"page"


def test_the_policy_lets_nothing_foreign_in() -> None:
    sources = re.findall(r"'[\w-]+'|https?:\S*|\*|data:|blob:", POLICY)
    assert set(sources) == {"'none'", "'self'", "'script'"}
