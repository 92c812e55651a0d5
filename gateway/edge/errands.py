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
    """Runs the commands of phones.

    Invariant: what was counted as in flight is counted out, whatever ends it.

    Args:
        node: Has commands executed.
        vetting: Which may go on to it.
        clock: Tells how long they take.
    """

    def __init__(self, node: Sockets, vetting: Vetting, clock: Clock) -> None:
        self._node = node
        self._vetting = vetting
        self._clock = clock

    async def run(self, connection: Connection, call: Call, papers: Papers, witness: Witness) -> Errand:
        """Return what became of *call*; bounded by its deadline.

        Args:
            connection: The phone's.
            call: What it asks for.
            papers: Whose it is; they say what was acknowledged.
            witness: Counts.
        """
        began = self._clock.now()
        witness.asked()
        try:
            outcome = await self._outcome(connection, call, papers)
        except BaseException:
            witness.forgot()
            raise
        witness.settled(call, outcome, self._clock.now() - began)
        return Errand(outcome, self._renewed(call, outcome, papers))

    async def _outcome(self, connection: Connection, call: Call, papers: Papers) -> Outcome:
        try:
            vetted = self._vetting.vet(call, papers.ticket)
        except GatewayError as error:
            return Outcome(Status.REJECTED, error)
        return await self._node.invoke(connection, vetted)

    def _renewed(self, call: Call, outcome: Outcome, papers: Papers) -> Renewed | None:
        """Return a token that says what was acknowledged."""
        if not isinstance(call.command, AcknowledgeNotice) or outcome.status is not Status.APPLIED:
            return None
        return papers.acknowledge(self._vetting.acknowledged(call.command, papers.ticket))
