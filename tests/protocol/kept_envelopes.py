"""What nodes of a released version send: ``python -m tests.protocol.kept_envelopes`` writes this version's.

Every later version must open the file of each version that it may stand beside. A file is written before its
version is tagged and never changed after that.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
from hypothesis import strategies as st

import gateway
from gateway.bus.sealing import Seals
from gateway.domain.errors import GatewayError
from gateway.domain.model import TOPIC_OF_KIND, Scope
from gateway.protocol import envelopes
from gateway.protocol.envelopes import encode
from tests.protocol import strategies

FOLDER: Final = Path(__file__).parent / "envelopes"
EACH: Final = 4
KEY: Final = ("k1", bytes(range(32)))
CHANNEL: Final = b"channel"


def plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """Return a decoded value as JSON has it."""
    if isinstance(value, GatewayError):
        return {"code": value.code.value, "message": value.message}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, msgspec.Struct | Scope) or (is_dataclass(value) and not isinstance(value, type)):
        return {name: plain(inner) for name, inner in shallow(value).items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(inner) for name, inner in value._asdict().items()}
    if isinstance(value, dict):
        return {str(plain(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, frozenset | set):
        return sorted((plain(inner) for inner in value), key=repr)
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def shallow(value: Any) -> dict[str, object]:  # noqa: ANN401 - any dataclass or struct
    """Return the fields of a dataclass, struct or scope, their values as they are."""
    if isinstance(value, Scope):
        return {topic: value.of(kind) for kind, topic in TOPIC_OF_KIND.items()}
    names = getattr(type(value), "__struct_fields__", None) or type(value).__dataclass_fields__
    return {name: getattr(value, name) for name in names}


def samples() -> Iterator[dict[str, object]]:
    """Yield some envelopes of every kind."""
    special: dict[object, st.SearchStrategy[Any]] = {
        envelopes.Publication: strategies.publications,
        envelopes.Publications: strategies.together,
    }
    for cls in get_args(envelopes.Envelope):
        for _ in range(EACH):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made: st.SearchStrategy[envelopes.Envelope] = special.get(cls) or strategies.of(cls)
                envelope = made.example()
            yield {"kind": cls.__name__, "bytes": encode(envelope).hex(), "says": plain(envelope)}


def written() -> str:
    """Return this version's file."""
    seals = Seals([KEY], bytes)
    sealed = seals.seal(CHANNEL, b"plain text").hex()
    return json.dumps({"sealed": sealed, "envelopes": list(samples())}, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{gateway.__version__}.json").write_text(written(), "ascii")
