"""Does a socket run its session: doors, deadlines, effects, and one end?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.protocol import frames
from gateway.protocol.codec import JSON, MSGPACK, Codec
from tests.edge.conftest import HELLO, Gateway


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
async def test_a_phone_is_welcomed_and_sees_what_changes(gateway: Gateway, codec: Codec) -> None:
    phone = await gateway.connect(codec)
    await phone.say(replace(HELLO, token=gateway.token()))
    welcome, changes, *_ = await phone.hear_all("welcome", "changes", "ping")
    assert isinstance(welcome, frames.Welcome)
    assert welcome.user == frames.UserView("7", "Ann")
    assert changes.reset
    assert set(changes.put) == {"site", "queue:1", "queue:2"} - {"queue:1"} | {"queue:1"}
    await gateway.clock.advance(1)
    gateway.node.wait_for(4)
    seen = await phone.hear()
    assert isinstance(seen, frames.Changes)
    assert seen.patch == {"queue:1": {"contacts_waiting": 4}}
