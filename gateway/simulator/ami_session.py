"""The manager interface of the small Asterisk (AMI): sessions, rights, actions and answers."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

Headers = list[tuple[str, str]]

AMI: Final = "13.0.0"

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


class ManagerInterface(ABC):
    """The manager interface of an Asterisk: its accounts, sessions and listener."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {"oscc": Account("secret")}
        self.received: list[dict[str, str]] = []
        """The last :data:`KEPT_ACTIONS` actions, as received."""
        self.sessions: set[Session] = set()
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.wrong_secret_s = 0.0
        self.ami = AMI
        self.lacks: frozenset[str] = frozenset()
        """Headers that it never sends, like old versions."""
        self.answers_last = False
        """Whether the events of an action are sent before its answer."""
        self.tls: ssl.SSLContext | None = None
        """The certificate with which it listens; None: in clear text."""
        self.allows_many = True
        """Whether an account may be logged in more than once: ``allowmultiplelogin`` of manager.conf."""
        self.port = 0
        self._server: asyncio.Server | None = None

    @abstractmethod
    def act(self, session: Session, name: str, number: str, fields: dict[str, str]) -> None:
        """Execute an action that the account may request; its events follow its answer."""

    async def start(self) -> None:
        """Listen, at the same port as before."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no longer, and end every session at once."""
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()
            self._server = None

    def cut(self) -> None:
        """End every session at once."""
        for session in list(self.sessions):
            session.hang_up()

    def freeze(self) -> None:
        """Read nothing until :meth:`thaw`, which reads the waiting data."""
        self.thawed.clear()

    def thaw(self) -> None:
        """Read again."""
        self.thawed.set()

    def send_event(self, kind: str, headers: Headers, right: str = "agent") -> None:
        """Send an event to all accounts that may receive it."""
        for session in list(self.sessions):
            session.event(kind, headers, right)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(self, reader, writer)
        self.sessions.add(session)
        try:
            await session.run()
        finally:
            self.sessions.discard(session)


class Session:
    """One AMI session."""

    def __init__(
        self, asterisk: ManagerInterface, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.account: Account | None = None
        self.events = True
        self._asterisk = asterisk
        self._reader, self._writer = reader, writer
        self._challenge = ""

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

    def send(self, headers: Headers) -> None:
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
            self.send([("Event", kind), ("Privilege", f"{right},all"), ("SystemName", "sandbox"), *headers])

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
            self.send([("Event", "FullyBooted"), ("Privilege", "system,all"), *words])
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
        self.send([("Response", response), *([("ActionID", number)] if number else []), *headers])

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
            self.send([("Event", kind), *headers, ("ActionID", number)])
            count += 1
        end = [("ActionID", number), ("EventList", "Complete"), ("ListItems", str(count))]
        self.send([("Event", complete), *end])
