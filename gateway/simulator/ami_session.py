"""A manager's session at the small Asterisk: log-on, rights, and the form of actions and answers (AMI)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

Headers = list[tuple[str, str]]

LINE_BYTES: Final = 1_024
KEPT_ACTIONS: Final = 1_000

RIGHTS: Final[dict[str, tuple[str, ...]]] = {
    "Challenge": (),
    "CoreSettings": ("system", "reporting"),
    "CoreStatus": ("system", "reporting"),
    "DBDel": ("system",),
    "DBDelTree": ("system",),
    "DBGet": ("system", "reporting"),
    "DBGetTree": ("system", "reporting"),
    "DBPut": ("system",),
    "Events": (),
    "ListCommands": (),
    "Login": (),
    "Logoff": (),
    "Originate": ("originate",),
    "Ping": (),
    "QueueAdd": ("agent",),
    "QueueMemberRingInUse": ("agent",),
    "QueuePause": ("agent",),
    "QueuePenalty": ("agent",),
    "QueueReload": (),
    "QueueRemove": ("agent",),
    "QueueReset": (),
    "QueueRule": (),
    "QueueStatus": (),
    "QueueSummary": (),
}
"""Action → the classes of which ``write=`` needs one; none: any manager may use it."""


@dataclass
class Account:
    """An account of manager.conf."""

    secret: str
    read: frozenset[str] = frozenset({"agent", "system"})
    write: frozenset[str] = frozenset({"agent", "system"})


class ManagedAsterisk(Protocol):
    """The Asterisk, as its sessions see it."""

    ami: str
    accounts: dict[str, Account]
    sessions: set[Session]
    received: list[dict[str, str]]
    lacks: frozenset[str]
    thawed: asyncio.Event
    wrong_secret_s: float
    allows_many: bool
    answers_last: bool

    def act(self, session: Session, name: str, number: str, fields: dict[str, str]) -> None:
        """Carry out an action that the account may request."""


class Session:
    """One AMI session."""

    def __init__(
        self, asterisk: ManagedAsterisk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.account: Account | None = None
        self.events = True
        self._asterisk = asterisk
        self._reader, self._writer = reader, writer
        self._challenge = ""
        self._later: list[Callable[[], None]] = []

    async def run(self) -> None:
        """Serve until either side disconnects."""
        self._writer.write(f"Asterisk Call Manager/{self._asterisk.ami}\r\n".encode())
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while True:
                raw = await self._reader.readuntil(b"\r\n\r\n")
                await self._asterisk.thawed.wait()
                fields = dict(
                    line[:LINE_BYTES].decode("utf-8", "replace").split(": ", 1)
                    for line in raw.strip().split(b"\r\n")
                    if b": " in line
                )
                if not await self.serve(fields):
                    break
        self._writer.close()

    def say(self, headers: Headers) -> None:
        """Send one message."""
        if not self._writer.is_closing():
            lacks = self._asterisk.lacks
            text = "".join(f"{name}: {value}\r\n" for name, value in headers if name not in lacks)
            self._writer.write(f"{text}\r\n".encode())

    def hang_up(self) -> None:
        """End the session at once."""
        self._writer.transport.abort()

    def event(self, kind: str, headers: Headers, right: str = "agent") -> None:
        """Send an event, if the account may receive it."""
        if self.account is not None and self.events and right in self.account.read:
            self.say([("Event", kind), ("Privilege", f"{right},all"), ("SystemName", "sandbox"), *headers])

    async def serve(self, fields: dict[str, str]) -> bool:
        """Serve one action; return whether the session continues."""
        name, number = fields.get("Action", ""), fields.get("ActionID", "")
        self._asterisk.received.append(fields)
        del self._asterisk.received[:-KEPT_ACTIONS]
        if name == "Login":
            return await self._log_in(fields, number)
        if name == "Challenge":
            self._challenge = "365762734"
            self._answer("Success", number, [("Challenge", self._challenge)])
            return True
        if self.account is None:
            self._answer("Error", number, [("Message", "Permission denied")])
            return True
        if name == "Logoff":
            self._answer("Goodbye", number, [("Message", "Thanks for all the fish.")])
            return False
        self._act(name, number, fields)
        return True

    async def _log_in(self, fields: dict[str, str], number: str) -> bool:
        account = self._asterisk.accounts.get(fields.get("Username", ""))
        if account is None or not self._proves(account, fields):
            await asyncio.sleep(self._asterisk.wrong_secret_s)
            self._answer("Error", number, [("Message", "Authentication failed")])
            return False
        if not self._asterisk.allows_many and any(one.account is account for one in self._asterisk.sessions):
            self._answer("Error", number, [("Message", "Login Already In Use")])
            return False
        self.account = account
        self.events = fields.get("Events", "on") != "off"
        self._answer("Success", number, [("Message", "Authentication accepted")])
        if "system" in account.read and self.events:
            words = [("Uptime", "3"), ("LastReload", "3"), ("Status", "Fully Booted")]
            self.say([("Event", "FullyBooted"), ("Privilege", "system,all"), *words])
        return True

    def _proves(self, account: Account, fields: dict[str, str]) -> bool:
        if fields.get("AuthType", "").upper() == "MD5":
            proof = hashlib.md5((self._challenge + account.secret).encode(), usedforsecurity=False)
            return bool(self._challenge) and fields.get("Key") == proof.hexdigest()
        return fields.get("Secret") == account.secret

    def _may(self, name: str) -> bool:
        needed = RIGHTS[name]
        return self.account is not None and (not needed or not self.account.write.isdisjoint(needed))

    def _act(self, name: str, number: str, fields: dict[str, str]) -> None:
        if name not in RIGHTS:
            text = f"Invalid/unknown command: {name}. Use Action: ListCommands to show available commands."
            self._answer("Error", number, [("Message", text)])
        elif not self._may(name):
            self._answer("Error", number, [("Message", "Permission denied")])
        elif name == "ListCommands":
            rows = [(one, " (Priv: agent,all)") for one in sorted(RIGHTS) if self._may(one)]
            self._answer("Success", number, rows)
        else:
            self._asterisk.act(self, name, number, fields)

    def _answer(self, response: str, number: str, headers: Headers) -> None:
        self.say([("Response", response), *([("ActionID", number)] if number else []), *headers])

    def ok(self, number: str, message: str) -> None:
        """Answer with success."""
        headers = [("Message", message)]
        if self._asterisk.answers_last:
            asyncio.get_running_loop().call_soon(self._answer, "Success", number, headers)
        else:
            self._answer("Success", number, headers)

    def no(self, number: str, message: str) -> None:
        """Answer with a refusal."""
        self._answer("Error", number, [("Message", message)])

    def plain(self, number: str, headers: Headers) -> None:
        """Answer with values."""
        self._answer("Success", number, headers)

    def list(self, number: str, message: str, rows: Iterable[tuple[str, Headers]], complete: str) -> None:
        """Answer with a list."""
        self._answer("Success", number, [("EventList", "start"), ("Message", message)])
        count = 0
        for kind, headers in rows:
            self.say([("Event", kind), *headers, ("ActionID", number)])
            count += 1
        end = [("ActionID", number), ("EventList", "Complete"), ("ListItems", str(count))]
        self.say([("Event", complete), *end])
