"""Listening at an address, and serving there until Ctrl-C."""

import contextlib
import ipaddress
import logging
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from crayon_bench import UserError
from crayon_bench.errors import one_line

if TYPE_CHECKING:
    from crayon_bench_plugins.annotation.server import Service

SHORTEST_TOKEN = 8
"""Characters."""


def check_address(host: str, names: tuple[str, ...], token: str | None) -> None:
    """Raise UserError if others can reach the page and no *token* keeps them out. *names*: of proxies before it."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise UserError(f"--token: too short, expected at least {SHORTEST_TOKEN} characters")
    if token is None and not loopback:
        raise UserError(
            f"--host {host}: others can reach this address", "add --token WORD, which the page then asks for"
        )
    if token is None and names:
        raise UserError(f"--allow-host {names[0]}: others can reach this page then", "add --token WORD")


@contextlib.contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """Give a socket that listens at *host* and *port*. Raises UserError if that cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UserError(f"--host {host}: no address of this machine") from None
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(128)
        except PermissionError:
            raise UserError(f"--port {port}: not allowed", "choose one above 1023") from None
        except OSError as error:
            if error.errno in (98, 48, 10048):
                raise UserError(
                    f"--port {port}: another program listens there", "choose another, or --port 0 for any"
                ) from None
            raise UserError(f"--host {host} --port {port}: {error.strerror or error}") from None
        yield listener


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return one_line(f"{record.levelname.capitalize()}: {record.getMessage()}")


def run(service: "Service", listener: socket.socket, hosts: tuple[str, ...]) -> None:
    """Serve until Ctrl-C."""
    import uvicorn

    from crayon_bench_plugins.annotation.server import make_app

    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logger = logging.getLogger("uvicorn.error")
    logger.handlers, logger.propagate = [handler], False
    config = uvicorn.Config(
        make_app(service, hosts),
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        http="h11",
        limit_concurrency=500,
        timeout_keep_alive=65,
        timeout_graceful_shutdown=3,
        h11_max_incomplete_event_size=32768,
    )
    sys.setswitchinterval(0.001)  # whoever draws a picture lets the answers through sooner
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])
