"""Sessions of a site that is an Asterisk: kept in AstDB, so that they outlive gateway and Asterisk.

A session's key is a hash of its secret; neither secret nor number stands in it. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from gateway.domain.model import WORD_CHARS, Application, Device, SessionId, SessionSecret, readable

SESSIONS: Final = "oscc-session"
NUMBERS: Final = "oscc-number"
UNTIL: Final = "oscc-until"
"""AstDB families: sessions by hash, remote numbers and signs of life by login."""
OF_PERSON: Final = 32
"""Sessions that one person may have; the oldest makes room."""
_VERSION: Final = "1"
_APPLICATIONS: Final = {"d": Application.DASHBOARD, "r": Application.REMOTE_ASSISTANT}
_LETTERS: Final = {application: letter for letter, application in _APPLICATIONS.items()}
_QUOTED: Final = 120
"""Bytes of a quoted text of the device, so that a line stays within what Asterisk reads."""


@dataclass(frozen=True, slots=True)
class AsteriskSession:
    """One session. *key*: the hash of its secret."""

    key: str
    login: str
    id: SessionId
    application: Application
    device: Device
    since_ms: int
    expires_ms: int

    @property
    def is_assistant(self) -> bool:
        """Whether it is a Remote Assistant's."""
        return self.application is Application.REMOTE_ASSISTANT

    def line(self) -> str:
        """Return the value that stands in AstDB."""
        words = (
            _VERSION,
            self.login,
            self.id,
            _LETTERS[self.application],
            _quoted(self.device.id),
            _quoted(self.device.name),
            str(self.since_ms),
            str(self.expires_ms),
        )
        return "|".join(words)


def parse(key: str, line: str) -> AsteriskSession | None:
    """Return the session of a value in AstDB; None where it is none of ours."""
    words = line.split("|")
    if len(words) != 8 or words[0] != _VERSION or words[3] not in _APPLICATIONS:
        return None
    if not (words[6].isdecimal() and words[7].isdecimal()):
        return None
    device = Device(readable(unquote(words[4]), WORD_CHARS), readable(unquote(words[5]), WORD_CHARS))
    return AsteriskSession(
        key, words[1], SessionId(words[2]), _APPLICATIONS[words[3]], device, int(words[6]), int(words[7])
    )


def key_of_secret(secret: SessionSecret) -> str:
    """Return the hash by which a session is kept."""
    return hashlib.sha256(secret.encode()).hexdigest()[:40]


def _quoted(text: str) -> str:
    short = readable(text, WORD_CHARS)
    while len(quote(short, safe="")) > _QUOTED:
        short = short[:-1]
    return quote(short, safe="")


class AsteriskSessions:
    """The sessions that are known here."""

    def __init__(self) -> None:
        self._by_key: dict[str, AsteriskSession] = {}
        self._of: dict[str, dict[str, AsteriskSession]] = {}

    def __iter__(self) -> Iterator[AsteriskSession]:
        return iter(list(self._by_key.values()))

    def __len__(self) -> int:
        return len(self._by_key)

    def get(self, key: str, now_ms: int) -> AsteriskSession | None:
        """Return a session that has not expired."""
        session = self._by_key.get(key)
        return None if session is None or session.expires_ms <= now_ms else session

    def of(self, login: str) -> list[AsteriskSession]:
        """Return the sessions of a person, the oldest first."""
        return sorted(self._of.get(login, {}).values(), key=lambda one: (one.since_ms, one.key))

    def assistant_of(self, login: str) -> AsteriskSession | None:
        """Return the Remote Assistant of a person: there is one at most."""
        return next((one for one in reversed(self.of(login)) if one.is_assistant), None)

    def put(self, session: AsteriskSession) -> None:
        """Add or replace one."""
        self._by_key[session.key] = session
        self._of.setdefault(session.login, {})[session.key] = session

    def drop(self, key: str) -> AsteriskSession | None:
        """Remove one; returns it."""
        session = self._by_key.pop(key, None)
        if session is not None:
            held = self._of[session.login]
            del held[key]
            if not held:
                del self._of[session.login]
        return session

    def replace(self, sessions: Iterable[AsteriskSession]) -> list[AsteriskSession]:
        """Know these sessions from now on, and no others; returns those that are gone."""
        fresh = {session.key: session for session in sessions}
        gone = [session for key, session in self._by_key.items() if key not in fresh]
        for session in gone:
            self.drop(session.key)
        for session in fresh.values():
            self.put(session)
        return gone
