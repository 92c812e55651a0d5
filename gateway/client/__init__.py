"""The Python SDK: the reference client.

Everything that a program needs is named here; :class:`GatewayClient` is where to begin.
"""

from gateway.client.client import GatewayClient
from gateway.client.dialogue import Wishes
from gateway.client.http import AskCredentials, Credentials, KeptSession, Unreachable
from gateway.client.http import ClientClock as Clock
from gateway.client.mirror import (
    AgentValue,
    AggregateValue,
    Connected,
    Ended,
    Event,
    GroupValue,
    HealthChanged,
    Listener,
    MeValue,
    NoticeShown,
    QueueValue,
    ReasonsValue,
    Reconnecting,
    Refused,
    RoutingParametersValue,
    SiteValue,
    SkillsValue,
    Value,
)
from gateway.client.mirror import (
    ClientMirror as Mirror,
)
from gateway.client.mirror import (
    LogOffDelayed as LogOffPending,
)
from gateway.client.mirror import (
    TokenRenewed as Renewed,
)
from gateway.domain.commands import (
    AcknowledgeNotice,
    ChangeRemoteNumber,
    ExtendPostProcessing,
    FinishPostProcessing,
    Outcome,
    SetAgentRoutingState,
    SetAutoPostProcessing,
    SetGroupParameters,
    SetQueueParameters,
    SetRoutingState,
    SetSkills,
    SkillChange,
    StartPostProcessing,
    Status,
)
from gateway.domain.errors import ErrorCode, GatewayError
from gateway.domain.model import Application, Kind
from gateway.protocol.bodies import DeviceBody
from gateway.protocol.codec import JSON, MSGPACK
from gateway.protocol.frames import ClientInfo

__all__ = [
    "JSON",
    "MSGPACK",
    "AcknowledgeNotice",
    "AgentValue",
    "AggregateValue",
    "Application",
    "AskCredentials",
    "ChangeRemoteNumber",
    "ClientInfo",
    "Clock",
    "Connected",
    "Credentials",
    "DeviceBody",
    "Ended",
    "ErrorCode",
    "Event",
    "ExtendPostProcessing",
    "FinishPostProcessing",
    "GatewayClient",
    "GatewayError",
    "GroupValue",
    "HealthChanged",
    "KeptSession",
    "Kind",
    "Listener",
    "LogOffPending",
    "MeValue",
    "Mirror",
    "NoticeShown",
    "Outcome",
    "QueueValue",
    "ReasonsValue",
    "Reconnecting",
    "Refused",
    "Renewed",
    "RoutingParametersValue",
    "SetAgentRoutingState",
    "SetAutoPostProcessing",
    "SetGroupParameters",
    "SetQueueParameters",
    "SetRoutingState",
    "SetSkills",
    "SiteValue",
    "SkillChange",
    "SkillsValue",
    "StartPostProcessing",
    "Status",
    "Unreachable",
    "Value",
    "Wishes",
]
