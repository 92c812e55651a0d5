"""How does a phone's command get its outcome, and what else comes of it?"""

from __future__ import annotations

from typing import NamedTuple

from gateway.domain.commands import AcknowledgeNotice, Call, Outcome, Status
from gateway.domain.errors import GatewayError
from gateway.edge.papers import Papers
from gateway.edge.ports import Sockets
from gateway.edge.vetting import Vetting
from gateway.edge.witness import Witness
from gateway.protocol.frames import Renewed
from gateway.runtime.feed import Connection
from gateway.runtime.ports import Clock


class Errand(NamedTuple):
    """What a command has come to. *renewed* leaves before the result."""

    outcome: Outcome
    renewed: Renewed | None


class Errands:
    """Runs the commands of one phone.

    Invariant: what was counted as in flight is counted out, whatever ends it.

    Args:
        node: Has commands executed.
        vetting: Which may go on to it.
        papers: Whose they are; they say what was acknowledged.
        witness: Counts.
        clock: Tells how long they take.
    """

    __slots__ = ("_clock", "_node", "_papers", "_vetting", "_witness")

    def __init__(
        self, node: Sockets, vetting: Vetting, papers: Papers, witness: Witness, clock: Clock
    ) -> None:
        self._node = node
        self._vetting = vetting
        self._papers = papers
        self._witness = witness
        self._clock = clock

    async def run(self, connection: Connection, call: Call) -> Errand:
        """Return what became of *call*; bounded by its deadline."""
        began = self._clock.now()
        self._witness.asked()
        try:
            outcome = await self._outcome(connection, call)
        except BaseException:
            self._witness.forgot()
            raise
        self._witness.settled(call, outcome, self._clock.now() - began)
        return Errand(outcome, self._renewed(call, outcome))

    async def _outcome(self, connection: Connection, call: Call) -> Outcome:
        try:
            vetted = self._vetting.vet(call, self._papers.ticket)
        except GatewayError as error:
            return Outcome(Status.REJECTED, error)
        return await self._node.invoke(connection, vetted)

    def _renewed(self, call: Call, outcome: Outcome) -> Renewed | None:
        """Return a token that says what was acknowledged."""
        if not isinstance(call.command, AcknowledgeNotice) or outcome.status is not Status.APPLIED:
            return None
        return self._papers.acknowledge(self._vetting.acknowledged(call.command, self._papers.ticket))
