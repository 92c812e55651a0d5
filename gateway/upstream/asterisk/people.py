"""The file of people of an Asterisk site: who may log on, with which key, and what each may see and do.

AMI and voicemail know no users, so an organisation writes them down. A password is kept as scrypt
(N = 2^15, r = 8, p = 1: some 75 ms and 32 MiB); the same work is done for names that do not exist.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import tomllib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gateway.domain.model import NAME_CHARS, readable


@lru_cache(maxsize=65_536)
def number_of(kind: str, name: str) -> int:
    """Return the number of a thing: 48 bits of BLAKE2s over kind and name, the same on every node."""
    digest = hashlib.blake2s(f"{kind}\0{name}".encode(), digest_size=6, person=b"asterisk").digest()
    return int.from_bytes(digest) or 1


def remote_interface(login: str, context: str) -> str:
    """Return the interface of a remote agent: the same, whatever the number is."""
    return f"Local/{login}@{context}/n"


PEOPLE: Final = 20_000
"""At most so many in one file."""
FILE_BYTES: Final = 16 * 2**20
_LOGIN: Final = re.compile(r"[a-z0-9_.-]{1,32}")
_N, _R, _P, _KEY_BYTES = 2**15, 8, 1, 32
_MEMORY_BYTES: Final = 64 * 2**20
_HASH: Final = re.compile(
    r"scrypt\$(\d{4,7})\$(\d{1,2})\$(\d{1,2})\$([A-Za-z0-9+/=]{16,64})\$([A-Za-z0-9+/=]{24,128})"
)

Word = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]


class PeopleError(Exception):
    """The file of people cannot be used; the text says what is wrong, without any value of it."""


class Person(BaseModel):
    """One person of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    login: str
    name: str = Field(min_length=1, max_length=NAME_CHARS)
    password: str = Field(repr=False)
    supervisor: bool = False
    agent: bool = False
    interfaces: tuple[Word, ...] = Field((), max_length=16, strict=False)
    queues: tuple[Word, ...] = Field((), max_length=256, strict=False)
    penalty: int = Field(0, ge=0, le=100)
    sees: tuple[Word, ...] = Field((), max_length=1024, strict=False)

    @field_validator("login")
    @classmethod
    def _is_login(cls, login: str) -> str:
        if _LOGIN.fullmatch(login) is None:
            raise ValueError("must be 1 to 32 of a-z, 0-9, _ . -")
        return login

    @field_validator("name")
    @classmethod
    def _is_readable(cls, name: str) -> str:
        return readable(name)

    @field_validator("password")
    @classmethod
    def _is_hash(cls, password: str) -> str:
        found = _HASH.fullmatch(password)
        if found is None:
            raise ValueError("must be a line that `oscc-gateway person` has written")
        n, r, p = (int(found[place]) for place in (1, 2, 3))
        if n & (n - 1) or 128 * r * n > _MEMORY_BYTES // 2 or not 1 <= p <= 4 or not 1 <= r <= 16:
            raise ValueError("has scrypt parameters that are not allowed")
        return password


def agent_number(person: Person) -> int:
    """Return the number of a person, as a user and as an agent."""
    return number_of("person", person.login)


class PeopleFile:
    """All people of one file.

    Invariant: a login is one person's, and so is an interface.
    """

    def __init__(self, people: Iterable[Person], remote_context: str) -> None:
        self.by_login: dict[str, Person] = {}
        self.by_interface: dict[str, Person] = {}
        self.by_number: dict[int, Person] = {}
        """Those who may use the Remote Assistant, by their number as agents."""
        for person in people:
            if person.login in self.by_login:
                raise PeopleError(f"the login {person.login} is there twice")
            self.by_login[person.login] = person
            if person.agent:
                self.by_number[agent_number(person)] = person
            remote = (remote_interface(person.login, remote_context),) if person.agent else ()
            for interface in (*person.interfaces, *remote):
                other = self.by_interface.setdefault(interface, person)
                if other is not person:
                    raise PeopleError(f"{person.login} and {other.login} have the same interface")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    people: tuple[Person, ...] = Field(max_length=PEOPLE, strict=False)


def read_people(path: Path, remote_context: str) -> PeopleFile:
    """Read the file of people.

    Raises:
        PeopleError: It cannot be read, or something in it is wrong.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PeopleError(f"cannot be read: {error.strerror or type(error).__name__}") from error
    if len(raw) > FILE_BYTES:
        raise PeopleError("is larger than 16 MiB")
    try:
        parsed = tomllib.loads(raw.decode("utf-8"))
        return PeopleFile(_File.model_validate(parsed).people, remote_context)
    except UnicodeDecodeError as error:
        raise PeopleError("is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise PeopleError("is not TOML") from error
    except ValidationError as error:
        raise PeopleError(_faults(error)) from None  # the cause shows values


def _faults(error: ValidationError) -> str:
    texts: list[str] = []
    for fault in error.errors(include_url=False, include_input=False)[:5]:
        where = ".".join(str(place) for place in fault["loc"])
        texts.append(f"{where}: {fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(texts)


# ---- passwords ----


def hash_password(password: str, salt: bytes) -> str:
    """Return the line of the file for a password. *salt*: 16 random bytes."""
    key = _derive(password, salt, _N, _R, _P, _KEY_BYTES)
    salted, kept = base64.b64encode(salt).decode(), base64.b64encode(key).decode()
    return f"scrypt${_N}${_R}${_P}${salted}${kept}"


_NO_KEY: Final = base64.b64encode(bytes(32)).decode()
NOBODY: Final = f"scrypt${_N}${_R}${_P}${_NO_KEY[:24]}${_NO_KEY}"
"""Checked for names that do not exist, so that the time of an answer does not show which do; nothing fits."""


def fits(password: str, hashed: str) -> bool:
    """Return whether a password is the one of a line of the file. Takes some 75 ms: call it in a thread."""
    found = _HASH.fullmatch(hashed)
    if found is None:
        return False
    salt, key = base64.b64decode(found[4]), base64.b64decode(found[5])
    derived = _derive(password, salt, int(found[1]), int(found[2]), int(found[3]), len(key))
    return hmac.compare_digest(derived, key)


def _derive(password: str, salt: bytes, n: int, r: int, p: int, size: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY_BYTES, dklen=size)
