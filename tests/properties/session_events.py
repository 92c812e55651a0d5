"""Events of a connection: strategies for ``test_session_properties.py``."""

from __future__ import annotations

from hypothesis import strategies as st

from gateway.core.ledger import Health
from gateway.core.session import Session
from gateway.domain.commands import Outcome, Status
from gateway.domain.errors import CloseCode, EndReason, ErrorCode, GatewayError
from gateway.domain.model import Right
from gateway.protocol import frames
from gateway.protocol.codec import BadFrame, Codec
from tests.core.samples import ticket_of
from tests.properties.phone import TOPICS

CLIENT = frames.ClientInfo("test", "1", "none")
TICKET = ticket_of()
RIGHTS = st.sampled_from([(), (Right.ROUTING_STATE_WRITE,), tuple(Right)])
ALL_IS_WELL = Health("live", "live", 1.0)
HEALTHS = st.sampled_from(
    [ALL_IS_WELL, Health("live", "live", 2), Health("down", "live", 2), Health("live", "down", 1)]
)
OUTCOMES = st.sampled_from(
    [Outcome(Status.APPLIED), Outcome(Status.UNKNOWN, GatewayError(ErrorCode.OWNER_LOST, "Look."))]
)
ENDS = st.sampled_from([EndReason.LOGGED_OFF, EndReason.BLOCKED, EndReason.EXPIRED])
CLOSES = {EndReason.LOGGED_OFF: 4005, EndReason.BLOCKED: 4008, EndReason.EXPIRED: 4300}
AGENT_IDS = st.sampled_from(["1", "2", "3", "queue:1"])
SERVICEABLE: list[frames.Serviceable] = [frames.Resync(), frames.Pace(1.0), frames.Follow("f", ())]
LATE: list[frames.ClientFrame] = [frames.Hello(CLIENT), frames.ClientBye(), *SERVICEABLE]
SENT_AWAY = st.sampled_from(
    [CloseCode.DRAINING, CloseCode.REPLACED, CloseCode.REPLACED, CloseCode.LOGGED_OFF]
)
MORE_TOPICS = st.none() | TOPICS | st.just(("agents", "queues"))
Way = tuple[int, tuple[str, ...] | None, bool]
WAYS = st.tuples(st.sampled_from([3, 3, 3, 3, 3, 2, 1, 0, -1]), MORE_TOPICS, st.booleans())
"""How far a connection comes at once (-1: it never will), what it asks for, and whether it resumes."""
ONE_IN_TEN = st.integers(0, 9).map(lambda drawn: drawn == 0)


def why_bad(codec: Codec, data: bytes) -> BadFrame:
    try:
        codec.decode_client(data)
    except BadFrame as bad:
        return bad
    raise AssertionError("garbage is a frame")


def stream_of(session: Session) -> str | None:
    """Return the stream in force, if the session is served."""
    return None if session.live is None else session.live.outbox.stream
