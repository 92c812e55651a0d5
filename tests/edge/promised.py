"""Match an answer with the published OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import aiohttp
import jsonschema

PROBLEM = "application/problem+json"
_METHODS = frozenset({"get", "post", "put", "patch", "delete"})
_ANYWHERE = ("403", "417", "429", "500")
"""What may be refused before it is known what was asked for."""


class Received(NamedTuple):
    """One kind of answer: of which operation, with which status, and with which code of ours."""

    operation: str
    status: int
    code: str | None = None


class Promises:
    """What a published document promises."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._responses = document["components"]["responses"]
        self.operations = {
            (method.upper(), path): operation
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if method in _METHODS
        }

    def all(self) -> set[Received]:
        """Return every kind of answer that any operation promises."""
        return {
            Received(f"{method} {path}", int(status), code)
            for (method, path), operation in self.operations.items()
            for status, answer in operation["responses"].items()
            for code in _codes(self._followed(answer))
        }

    async def kept(self, method: str, path: str, answer: aiohttp.ClientResponse) -> Received:
        """Return which kind of answer this is, after a look at all of it.

        Raises:
            AssertionError: It is none that was promised.
            jsonschema.ValidationError: Its body is not as it was promised.
        """
        name, responses = self._of(method, path)
        promised = responses.get(str(answer.status))
        assert promised is not None, f"{method} {path}: {answer.status} was not promised"
        promised = self._followed(promised)
        self._check_headers(promised, answer)
        text = await answer.text()
        if "content" not in promised or method == "HEAD":
            assert text == ""
            return Received(name, answer.status)
        schema = promised["content"][answer.content_type]["schema"]
        body = json.loads(text)
        self._check(schema, body)
        return Received(name, answer.status, body["code"] if answer.content_type == PROBLEM else None)

    def _of(self, method: str, path: str) -> tuple[str, dict[str, Any]]:
        """Return the path and the documented responses of a request."""
        anywhere = {of: self.operations["GET", "/v1/about"]["responses"][of] for of in _ANYWHERE}
        found = {
            known: template for known, template in self.operations if re.fullmatch(_pattern(template), path)
        }
        named = "GET" if method == "HEAD" and "GET" in found else method
        operation = self.operations.get((named, found.get(named, "")))
        if operation is not None and (method == named or "101" not in operation["responses"]):
            return f"{named} {found[named]}", operation["responses"]
        if found:
            return "no method", anywhere | {"405": self._responses["MethodNotAllowed"]}
        return "no path", anywhere | {"404": self._responses["NotFound"]}

    def _check_headers(self, promised: dict[str, Any], answer: aiohttp.ClientResponse) -> None:
        for name, header in promised.get("headers", {}).items():
            value = answer.headers.get(name)
            assert value is not None or not header["required"], f"{name} was promised"
            if value is not None:
                is_number = header["schema"].get("type") == "integer"
                self._check(header["schema"], int(value) if is_number else value)
        if "Retry-After" not in promised.get("headers", {}):
            assert "Retry-After" not in answer.headers

    def _check(self, schema: dict[str, Any], value: object) -> None:
        whole = {**schema, "components": self._document["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)

    def _followed(self, answer: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in answer:
            return answer
        followed = self._responses[answer["$ref"].rpartition("/")[2]]
        assert isinstance(followed, dict)
        return followed


def _pattern(template: str) -> str:
    return re.sub(r"\\{\w+\\}", "[^/{}]+", re.escape(template))


def _codes(answer: dict[str, Any]) -> Iterator[str | None]:
    problem = answer.get("content", {}).get(PROBLEM)
    if problem is None:
        yield None
        return
    for choice in problem["schema"]["oneOf"]:
        yield choice["$ref"].rpartition("Problem_")[2]
