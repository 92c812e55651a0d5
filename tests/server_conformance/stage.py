"""What a check has: users of its own, their sessions and links, and the server's owner."""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

from tests.server_conformance import shapes
from tests.server_conformance.driver import Driver, DriverError, User
from tests.server_conformance.link import FIRST, Link, Message, of_type
from tests.server_conformance.verdicts import Failed, Skipped, expect

PROTOCOL: Final = "oscce.link.v1"
_TRIES: Final = 4
_WAIT_MOST_S: Final = 10
"""So long and so often it is waited for a server that has too much to do."""
HOLDER: Final = "conformance-kit"
_UPGRADE: Final = {
    "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": PROTOCOL,
}  # fmt: skip


class _Answer(aiohttp.ClientResponse):
    """An answer whose `Connection` may name more than `Upgrade`, as in RFC 6455 but not in aiohttp."""

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        read = CIMultiDict(self._headers)
        if "upgrade" in [word.strip().lower() for word in read.get("Connection", "").split(",")]:
            read["Connection"] = "Upgrade"
        return CIMultiDictProxy(read)


class Reply(NamedTuple):
    """An answer over HTTPS."""

    status: int
    headers: Mapping[str, str]
    body: Any
    """None when it is no JSON."""

    @property
    def error(self) -> object:
        return self.body.get("Error") if isinstance(self.body, dict) else None


class Session(NamedTuple):
    """A session that the kit opened."""

    user: User
    secret: str
    body: dict[str, Any]
    """The answer to the log-on."""
    reply: Reply

    @property
    def public(self) -> str:
        """The id that is no secret."""
        return str(self.body["ID"])


class Tokens:
    """Link tokens: each higher than all before it, also than those of an earlier run."""

    def __init__(self) -> None:
        self._last = int(time.time() * 1000)  # noqa: TID251 - the kit lives in real time

    def next(self) -> int:
        self._last += 10
        return self._last


def reason(error: Exception) -> str:
    """Return why there was no answer, in words."""
    match error:
        case TimeoutError():
            return "the server accepts the connection, or drops it, and says nothing in time (--patience)"
        case aiohttp.ClientConnectorCertificateError():
            return f"its certificate is not accepted ({error.certificate_error}); --ca names the authority"
        case aiohttp.ClientConnectorSSLError():
            return "TLS fails: does it speak https at this port?"
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return "this is no address; it begins with http:// or https://, as in https://server.example:8443"
        case aiohttp.ClientConnectorError():
            return f"no connection to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
        case aiohttp.ServerDisconnectedError() | OSError(errno=errno.ECONNRESET):
            return "the server closed the connection without an answer"
        case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
            return "what it answers is no HTTP; does it want https:// instead of http://?"
        case _:
            return f"{type(error).__name__}: {error}"


class Stage:
    """Where one check plays; what it opened is ended with it.

    Args:
        driver: What is known of the server.
        about: What the server says of itself.
        dashboards: The check's own users of the Dashboard.
        agents: The check's own users of the Remote Assistant.
        tokens: Of all checks.
    """

    def __init__(
        self,
        driver: Driver,
        about: Mapping[str, Any],
        dashboards: tuple[User, ...],
        agents: tuple[User, ...],
        tokens: Tokens,
    ) -> None:
        self.driver: Final = driver
        self.about: Final = about
        self.dashboards: Final = dashboards
        self.agents: Final = agents
        self.links: Final[list[Link]] = []
        self._tokens = tokens
        self._secrets: list[str] = []
        self._devices = 0
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._http = await self._stack.enter_async_context(client(self.driver))
        self._tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            for link in self.links:
                await link.close()
            for secret in self._secrets:
                await self.delete(secret)
        await self._stack.aclose()

    # ---- HTTPS ----

    async def http(self, method: str, path: str, secret: str | None = None, **options: Any) -> Reply:  # noqa: ANN401 - aiohttp's
        """Ask over HTTPS.

        Raises:
            Failed: There is no answer.
        """
        headers = {"OSCCE-Session": secret} if secret is not None else {}
        headers |= options.pop("headers", {})
        try:
            async with self._http.request(
                method,
                f"{self.driver.server}/oscce/v1{path}",
                headers=headers,
                allow_redirects=False,
                **options,
            ) as response:
                text = b"" if response.status == 101 else await response.read()
                return Reply(response.status, response.headers.copy(), _json(text))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(f"{method} {path} is not answered: {reason(error)}") from error

    async def success(
        self, method: str, path: str, secret: str | None = None, status: int = 200
    ) -> dict[str, Any]:
        """Ask over HTTPS for what must succeed; returns the body, which is as the schema says."""
        reply = await self.http(method, path, secret)
        said = f"{method} {path} is answered {reply.status} {reply.error or ''}".rstrip()
        expect(reply.status == status, f"{said}, not {status}")
        route = f"{method} /oscce/v1{path}"
        if route not in _ROUTES:
            route = "DELETE /oscce/v1/sessions/{ID}"
        fault = shapes.body_fault(route, reply.body)
        expect(fault is None, f"{method} {path}: {fault}", shapes.TYPES)
        return dict(reply.body)

    async def delete(self, secret: str) -> Reply:
        """Log a session off."""
        return await self.http("DELETE", "/sessions/current", secret)

    async def refuses(self, status: int, name: str, reply: Reply) -> Reply:
        """Hold that *reply* is the refusal of that name."""
        said = f"the answer is {reply.status} {reply.error or ''}".rstrip()
        expect((reply.status, reply.error) == (status, name), f"{said}, not {status} {name}")
        return reply

    # ---- sessions ----

    async def has_ended(self, session: Session) -> None:
        """Hold that the server does not know a session any more."""
        await self.refuses(401, "SessionUnknown", await self.keep_alive(session))

    async def keep_alive(self, session: Session) -> Reply:
        return await self.http("POST", "/sessions/current/keepalive", session.secret)

    def device(self) -> dict[str, str]:
        """Return a device that nobody has."""
        self._devices += 1
        number = f"{self._tokens.next()}-{self._devices}"
        return {"ID": f"kit-{number}", "Name": f"Conformance kit {number}"}

    async def try_log_on(self, user: User, application: str, **fields: object) -> Reply:
        """Try to log on; a session that comes of it ends with the check."""
        said: dict[str, object] = {
            "Application": application,
            "UserName": user.name,
            "Password": user.password,
        }
        if application == "RemoteAssistant" and user.numbers:
            said["RemoteNumber"] = user.numbers[0]
        said |= {"Device": self.device(), **fields}
        said = {name: value for name, value in said.items() if value is not None}
        reply = await self._patiently(said)
        if isinstance(reply.body, dict) and isinstance(reply.body.get("SessionID"), str):
            self._secrets.append(reply.body["SessionID"])
        return reply

    async def _patiently(self, said: Mapping[str, object]) -> Reply:
        """Ask for a log-on, and again when the server has too much to do and says until when."""
        reply = await self.http("POST", "/sessions", json=said)
        for _ in range(_TRIES):
            after = reply.headers.get("Retry-After", "")
            if reply.status not in (429, 503) or not after.isdigit():
                break
            await asyncio.sleep(min(int(after), _WAIT_MOST_S))
            reply = await self.http("POST", "/sessions", json=said)
        return reply

    async def log_on(self, user: User, application: str = "Dashboard", **fields: object) -> Session:
        """Log on, which must succeed. An agent's old session, from any client, is taken over."""
        takeover = True if application == "RemoteAssistant" else None
        reply = await self.try_log_on(user, application, **{"Takeover": takeover, **fields})
        return self.logged_on(user, reply)

    @staticmethod
    def logged_on(user: User, reply: Reply) -> Session:
        """Hold that a log-on succeeded; returns its session."""
        expect(reply.status == 201, f"the log-on is answered {reply.status} {reply.error or ''}, not 201")
        fault = shapes.body_fault("POST /oscce/v1/sessions", reply.body)
        expect(fault is None, f"the answer to a log-on: {fault}", shapes.TYPES)
        return Session(user, reply.body["SessionID"], dict(reply.body), reply)

    async def dashboard(self, number: int = 0, **fields: object) -> Session:
        """Log one of the check's users on to the Dashboard."""
        return await self.log_on(self.dashboards[number], "Dashboard", **fields)

    async def agent(self, number: int = 0, **fields: object) -> Session:
        """Log one of the check's agents on."""
        return await self.log_on(self.agents[number], "RemoteAssistant", **fields)

    def number(self, which: int, agent: int = 0) -> str:
        """Return another remote number of one of the check's agents."""
        numbers = self.agents[agent].numbers
        if which >= len(numbers):
            raise Skipped(f"the driver names {len(numbers)} numbers of {self.agents[agent].name}")
        return numbers[which]

    # ---- links ----

    def token(self) -> int:
        """Return a token that is higher than all before it."""
        return self._tokens.next()

    @property
    def fenced(self) -> bool:
        """Whether the server has the feature LinkFencing."""
        return "LinkFencing" in self.about.get("Features", ())

    async def open(self, session: Session, token: int | None = None, holder: str = HOLDER) -> Link:
        """Open a link, which must succeed; returns it when it has said its first message."""
        headers = {
            "OSCCE-Session": session.secret,
            "OSCCE-Link-Token": str(self.token() if token is None else token),
            "OSCCE-Link-Holder": holder,
        }
        try:
            socket = await self._http.ws_connect(
                f"{self.driver.server}/oscce/v1/link",
                headers=headers,
                protocols=(PROTOCOL,),
                max_msg_size=8 * 1024 * 1024,
                autoping=False,
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise Failed(f"the answer to the upgrade is not that of RFC 6455: {error.message}") from error
            raise Failed(f"the link is refused with {error.status}") from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Failed(f"the link does not open: {error!r}") from error
        link = Link(socket, self.driver.patience_s)
        self.links.append(link)
        self._tasks.create_task(link.read())
        await link.received(lambda _: True, "the first message of the link")
        expect(
            link.opened.get("Type") == "LinkOpened", f"the link begins with {link.opened.get('Type')}", FIRST
        )
        return link

    async def refuse_link(self, secret: str, headers: Mapping[str, str]) -> Reply:
        """Ask for a link that must be refused; returns how it was.

        Raises:
            Failed: It opened.
        """
        reply = await self.http("GET", "/link", secret, headers={**_UPGRADE, **headers})
        expect(reply.status != 101, "the link opens")
        return reply

    async def seen_agent(self, link: Link, key: int) -> int:
        """Listen to agents on a supervisor's link; returns the query.

        Raises:
            Skipped: He does not see the agent of *key*.
        """
        if key not in (link.opened["Session"].get("Scope") or {}).get("Users", ()):
            raise Skipped(f"the Dashboard's user does not see the agent {key}")
        query, _ = await link.listen("UserRealtime")
        return query

    async def cause(self, hook: str, /, **said: object) -> None:
        """Have the server's owner do something."""
        await self.driver.cause(hook, **said)

    @property
    def faults(self) -> list[Failed]:
        """What breaks a sentence that holds for all links."""
        return [fault for link in self.links for fault in link.faults]


def own_agent(link: Link) -> int:
    """Return the key of the agent that the link's user is."""
    key = link.opened["Session"].get("OwnUserKey")
    if not isinstance(key, int):
        raise Failed("LinkOpened reports no OwnUserKey of an agent's session")
    return key


async def session_ended(link: Link, alias: int, after: int = 0, within_s: float | None = None) -> str:
    """Return the reason with which an attached session ended."""
    test = of_type("SessionEnded", Session=alias)
    return str((await link.received(test, "SessionEnded", after=after, within_s=within_s))["Reason"])


async def logged_off(link: Link, query: int, after: int) -> None:
    """Hold that the link's own agent is logged off: his session ends so, or he leaves the set of *query*."""
    key, alias = own_agent(link), link.alias

    def fits(each: Message) -> bool:
        if each.get("Type") == "SessionEnded" and each.get("Session") == alias:
            return True
        if each.get("Type") != "Event" or each.get("QueryID") != query:
            return False
        whole = each.get("Complete") is True and all(one["UserKey"] != key for one in each["Elements"])
        return key in (each.get("Removed") or ()) or whole

    message = await link.received(fits, "the agent's log-off", after=after)
    reason = message.get("Reason", "LoggedOff")
    expect(reason == "LoggedOff", f"the session ends as {reason}")


def client(driver: Driver) -> aiohttp.ClientSession:
    """Return what speaks HTTPS with the server; each check has its own."""
    connector = aiohttp.TCPConnector()
    if driver.authority is not None:
        try:
            context = ssl.create_default_context(cafile=driver.authority)
        except OSError as error:  # ssl.SSLError is one
            raise DriverError(
                f"the certificates of {driver.authority} cannot be used: {error.strerror or error}"
            ) from error
        connector = aiohttp.TCPConnector(ssl=context)
    return aiohttp.ClientSession(
        connector=connector,
        response_class=_Answer,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=max(30.0, driver.patience_s)),
    )


_ROUTES: Final = frozenset(
    {
        "GET /oscce/v1/about",
        "GET /oscce/v1/sessions",
        "DELETE /oscce/v1/sessions/current",
        "POST /oscce/v1/sessions/current/keepalive",
    }
)


def _json(text: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return shapes.read_json(text)
    except ValueError:
        return None
