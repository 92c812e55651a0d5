"""What the kit must know of a server, from a file in TOML; docs/servers.md describes that file."""

from __future__ import annotations

import asyncio
import shlex
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

HOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    "end_session": ("user", "id", "reason"),
    "set_scope": ("user", "users", "queues", "groups", "aggregates"),
    "set_rights": ("user", "rights"),
    "rename_queue": ("key", "name"),
    "give_contact": ("user", "key"),
    "end_contact": ("user", "key"),
    "set_function": ("function", "state"),
    "notice": ("user", "text"),
    "restart": (),
}
"""Everything that only the server's owner can bring about, and what is said of it."""
_LIMIT_S: Final = 60.0


class DriverError(Exception):
    """The driver file cannot be used, or a hook did not work: this says nothing of the server."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may log on."""

    name: str
    password: str
    numbers: tuple[str, ...] = ()
    """Of an agent: remote numbers that no other agent of the file has; two are needed, three are better."""


@dataclass(frozen=True, slots=True)
class Driver:
    """What the file says."""

    server: str
    dashboards: tuple[User, ...] = ()
    agents: tuple[User, ...] = ()
    both: User | None = None
    """An agent who may use the Dashboard, too, and sees more there."""
    refusals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Error of a log-on → fields of a log-on that is refused with it."""
    hooks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    """What hooks may name beside what is said of each."""
    authority: str | None = None
    """File with the certificates that vouch for the server."""
    patience_s: float = 10.0
    """So long the server may take for what it does at once."""

    async def cause(self, hook: str, /, **said: object) -> None:
        """Have the owner of the server do something; returns when it is done.

        Raises:
            DriverError: It did not work.
        """
        await self.bring_about(hook, self.hooks[hook], **said)

    async def bring_about(self, name: str, how: Mapping[str, Any], /, **said: object) -> None:
        """Run a command or make a call, as *how* says.

        Raises:
            DriverError: It did not work.
        """
        values = {**self.values, **said}
        try:
            async with asyncio.timeout(_LIMIT_S):
                if "run" in how:
                    await _run(filled(_words(how["run"]), values))
                else:
                    await _call(filled(how, values))
        except (OSError, aiohttp.ClientError, TimeoutError, KeyError) as error:
            raise DriverError(f"the hook {name} does not work: {error!r}") from error


async def _run(command: Sequence[str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise OSError(f"exit code {process.returncode}: {said.decode(errors='replace').strip()[-300:]}")


async def _call(how: Mapping[str, Any]) -> None:
    method = str(how.get("method", "POST"))
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, how["url"], json=how.get("json"), headers=how.get("headers")) as response,
    ):
        if response.status >= 300:
            raise OSError(f"{method} is answered {response.status}: {(await response.text())[:300]}")


def _words(command: str | Sequence[str]) -> Sequence[str]:
    return shlex.split(command) if isinstance(command, str) else command


def filled(template: Any, values: Mapping[str, object]) -> Any:  # noqa: ANN401 - whatever TOML can hold
    """Put *values* where *template* names them: `{name}` alone is the value itself, else its text."""
    if isinstance(template, str):
        if template[:1] == "{" and template[-1:] == "}" and template[1:-1] in values:
            return values[template[1:-1]]
        for name, value in values.items():
            shown = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            template = template.replace(f"{{{name}}}", shown)
        return template
    if isinstance(template, Mapping):
        return {name: filled(each, values) for name, each in template.items()}
    return [filled(each, values) for each in template] if isinstance(template, Sequence) else template


def read(path: Path | None, values: Mapping[str, str], **override: Any) -> Driver:  # noqa: ANN401 - fields of Driver
    """Read a driver file.

    Args:
        path: The file; None: there is none.
        values: Go before those of the file.
        override: Fields that go before the file's; None does not.

    Raises:
        DriverError: It cannot be read, or names what does not exist.
    """
    try:
        said = {} if path is None else tomllib.loads(path.read_text("utf-8"))
        unknown = said.keys() - _FIELDS
        if unknown or said.get("hooks", {}).keys() - HOOKS.keys():
            raise DriverError(f"unknown in {path}: {sorted(unknown) or sorted(said['hooks'].keys() - HOOKS)}")
        known: dict[str, Any] = {**said, "values": {**said.get("values", {}), **values}}
        for name in ("dashboards", "agents"):
            known[name] = tuple(_user(each) for each in said.get(name, ()))
        if "both" in said:
            known["both"] = _user(said["both"])
        known |= {name: value for name, value in override.items() if value is not None}
        if "server" not in known:
            raise DriverError("no server is named: --server URL, or server in the driver file")
        return Driver(**{**known, "server": str(known["server"]).rstrip("/")})
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DriverError(f"the driver file {path} cannot be used: {why}") from error


_FIELDS: Final = frozenset(Driver.__dataclass_fields__)


def _user(said: Mapping[str, Any]) -> User:
    return User(said["user"], said["password"], tuple(said.get("numbers", ())))
