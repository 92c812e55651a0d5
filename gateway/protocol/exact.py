"""Exact values: detect a value that reading has converted.

Commands are types of the domain, which knows no validator and so cannot ask for strictness field
by field: pydantic would read ``"5"``, ``5.0`` and ``True`` as 5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from operator import attrgetter

from pydantic import ValidatorFunctionWrapHandler
from pydantic_core import PydanticCustomError


def exact(sent: object, read: ValidatorFunctionWrapHandler) -> object:
    """Read *sent*, and refuse it when a scalar in it had to be converted; unknown members are ignored.

    A member that is null is one that was not sent, as everywhere in the protocol.

    Raises:
        PydanticCustomError: Something has the wrong type.
    """
    if isinstance(sent, Mapping):
        sent = {name: member for name, member in sent.items() if member is not None}
    value: object = read(sent)
    if not _says(value, sent):
        raise PydanticCustomError("wrong_type", "a value has the wrong type")
    return value


def _says(value: object, sent: object) -> bool:
    if sent is value:
        return True
    if is_dataclass(value) and isinstance(sent, Mapping):
        return all(
            _says(attrgetter(field.name)(value), sent[field.name])
            for field in fields(value)
            if field.name in sent
        )
    if isinstance(value, Mapping) and isinstance(sent, Mapping):
        return all(_says(member, sent[name]) for name, member in value.items())
    if isinstance(value, tuple) and isinstance(sent, list | tuple):
        return all(map(_says, value, sent))
    return type(value) is type(sent) and value == sent


def absent(sent: object) -> object:
    """Read null for a flag that was not sent."""
    return False if sent is None else sent
