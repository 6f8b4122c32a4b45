"""The doors of the annotation server: who may come in, from where, and with how much.

One ASGI layer around everything: Host and Origin are checked, bodies are bounded, every response gets the headers that
keep a browser from doing anything with it but show it, and whatever goes wrong inside becomes one line.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from crayon_bench import UserError
from crayon_bench.errors import one_line
from crayon_bench_plugins.annotation.answers.names import check_name

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
ANY = ("0.0.0.0", "::")

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: with that, browsers send forms with "Origin: null".
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]

_PATIENCE = 20.0
"""Seconds in which a body must have come in."""


class RefusedError(Exception):
    """A request that is refused: a status, and one line that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, one_line(message, 500)


class Doors:
    """The layer around the *app*. *hosts*: names under which the page may be called, without ports."""

    def __init__(self, app: App, hosts: tuple[str, ...], largest: int) -> None:
        """*largest*: bytes of the largest body."""
        self.app, self.largest = app, largest
        self.hosts = tuple(host.lower() for host in hosts)  # as a browser writes them

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        begun = False

        async def guarded(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = [(name, value) for name, value in message.get("headers", []) if name.lower() not in _NAMES]
                message = {**message, "headers": [*own, *_RAW]}
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, self._bounded(scope, receive), guarded)
        except RefusedError as refused:
            if not begun:
                await _say(guarded, refused.status, refused.message)
        except Exception as error:  # a line in place of a traceback: neither the page nor the log is the place for one
            print(one_line(f"Error: {scope['method']}: {type(error).__name__}: {error}"), file=sys.stderr, flush=True)
            if not begun:
                await _say(guarded, 500, "something went wrong; the terminal of the server says what")

    def _check(self, scope: MutableMapping[str, Any]) -> None:
        headers = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
        if not is_known(host, self.hosts):
            raise RefusedError(421, "this page is not known under that name; start it with --allow-host NAME")
        if scope["method"] in ("GET", "HEAD"):
            return
        if scope["method"] != "POST":
            raise RefusedError(405, "only GET and POST are answered")
        for name, value in headers:
            if name == b"origin" and not _is_same(value.decode("latin-1"), host):
                raise RefusedError(403, "the request comes from another page")
            if name == b"sec-fetch-site" and value not in (b"same-origin", b"none"):
                raise RefusedError(403, "the request comes from another page")
            if name == b"content-length" and not (value.isdigit() and len(value) < 12 and int(value) <= self.largest):
                raise RefusedError(413, f"more than {self.largest} bytes")

    def _bounded(self, scope: MutableMapping[str, Any], receive: Receive) -> Receive:
        size, until, complete = 0, time.monotonic() + _PATIENCE, False

        async def bounded() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, until - time.monotonic()) if scope["method"] == "POST" else None):
                    message = await receive()
            except TimeoutError:
                raise RefusedError(408, "the request did not come to an end") from None
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "the request did not come to an end")
            complete = not message.get("more_body", False)
            size += len(message.get("body", b""))
            if size > self.largest:
                raise RefusedError(413, f"more than {self.largest} bytes")
            return message

        return bounded


_NAMES = {name.encode() for name in HEADERS}


async def _say(send: Send, status: int, message: str) -> None:
    body = json.dumps({"error": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status in (408, 413):  # what is left of the body is not waited for
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def is_known(host: str, hosts: tuple[str, ...]) -> bool:
    """Return whether a Host header names this server: one of *hosts*, or any address if it listens on all of them.

    Only a name can be pointed at somebody else's address, so an address needs no list.
    """
    try:
        name = urlsplit(f"//{host}").hostname
        _ = urlsplit(f"//{host}").port
    except ValueError:
        return False
    if not name or any(c in host for c in "/?#@\\ \t"):
        return False
    if name in LOOPBACK or name in hosts:
        return True
    if not set(hosts) & set(ANY):
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_same(origin: str, host: str) -> bool:
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and rest.lower() == host.lower()


@dataclass
class Keys:
    """Who is signed in: a cookie with the annotator's name, signed with the token. It outlives the server.

    Without a token everybody may come in under any name, as everybody on this machine may write the files.
    """

    token: str | None
    wrong: dict[str, deque[float]] = field(default_factory=dict)

    ATTEMPTS = 5
    WINDOW = 60.0
    """So many wrong tokens from one address are looked at in so many seconds, and ten times as many from all."""

    def _sign(self, name: str) -> str:
        key = hashlib.sha256(b"crayon-bench annotate\0" + (self.token or "").encode()).digest()
        return hmac.new(key, name.encode(), hashlib.sha256).hexdigest()

    def cookie(self, name: str) -> str:
        """Return the cookie's value for an annotator."""
        return f"{base64.urlsafe_b64encode(name.encode()).decode()}.{self._sign(name)}"

    def name(self, cookie: str | None) -> str | None:
        """Return whose cookie it is; None if it is nobody's."""
        encoded, _, signature = (cookie or "").partition(".")
        try:
            name = base64.b64decode(encoded.encode("ascii"), altchars=b"-_", validate=True).decode()
            if not hmac.compare_digest(self._sign(name), signature) or check_name(name) != name:
                return None
        except (ValueError, UserError, binascii.Error, TypeError):
            return None
        return name

    def check(self, token: str, address: str) -> None:
        """Raise RefusedError unless *token* is the token; 429 if there were too many wrong ones."""
        if self.token is None:
            return
        now = time.monotonic()
        for known in list(self.wrong):
            times = self.wrong[known]
            while times and times[0] <= now - self.WINDOW:
                times.popleft()
            if not times:
                del self.wrong[known]
        mine = self.wrong.get(address, ())
        if len(mine) >= self.ATTEMPTS or sum(map(len, self.wrong.values())) >= 10 * self.ATTEMPTS:
            raise RefusedError(429, f"too many wrong tokens; try again in {self.WINDOW:.0f} seconds")
        given, right = (hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in (token, self.token))
        if not hmac.compare_digest(given, right):
            self.wrong.setdefault(address, deque()).append(now)
            raise RefusedError(403, "that is not the token")
