"""References of a JSON document."""

from __future__ import annotations


def references(document: object) -> set[str]:
    """Return every `$ref` of *document*, at any depth."""
    match document:
        case dict():
            own = {document["$ref"]} if isinstance(document.get("$ref"), str) else set()
            return own.union(*(references(member) for member in document.values()))
        case list():
            return set().union(*(references(member) for member in document))
        case _:
            return set()


def resolves(document: object, reference: str) -> bool:
    """Tell whether *reference* leads to something inside *document* (RFC 6901)."""
    found = document
    for step in reference.removeprefix("#/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            return False
        found = found[name]
    return True
