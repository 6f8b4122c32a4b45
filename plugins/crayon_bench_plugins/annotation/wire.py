"""What comes in over the wire, looked at before it is believed; and masks as they go over it."""

import base64
import binascii
import json
import math
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from starlette.requests import Request

from crayon_bench_plugins.annotation.answers.events import Via
from crayon_bench_plugins.annotation.answers.tasks import Bools
from crayon_bench_plugins.annotation.doors import RefusedError


async def json_of(request: Request) -> dict[str, Any]:
    """Return the object in a request's body. Raises RefusedError."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RefusedError(415, "expected application/json")
    try:
        body = json.loads(await request.body(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise RefusedError(400, "expected JSON") from None
    if not isinstance(body, dict):
        raise RefusedError(400, "expected an object")
    return body


def _no_number(text: str) -> Any:
    raise ValueError(text)


def number_of(text: str) -> int | None:
    """Return the number that a path names; None if it names none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def via_of(body: dict[str, Any]) -> Via:
    """Return how an answer was entered. Raises RefusedError."""
    try:
        via = Via(str(body.get("via")))
    except ValueError:
        via = Via.IMPORT
    if via is Via.IMPORT:
        raise RefusedError(400, "'via' must be key, pointer or touch")
    return via


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form. Raises RefusedError."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise RefusedError(415, "expected a form")
    try:
        fields = parse_qs((await request.body()).decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise RefusedError(400, "the form cannot be read") from None
    return {name: values[-1] for name, values in fields.items()}


def pack(mask: Bools) -> str:
    """Return a mask, bool (H, W), as base64 of its bits, row after row without gaps, the first in the highest bit."""
    return base64.b64encode(np.packbits(mask.ravel()).tobytes()).decode()


def unpack(text: Any, size: tuple[int, int]) -> Bools:
    """Return the mask that :func:`pack` gave. Raises RefusedError unless it is exactly of that *size*."""
    pixels = math.prod(size)
    try:
        bits = base64.b64decode(text.encode("ascii"), validate=True)
    except (AttributeError, ValueError, binascii.Error):
        raise RefusedError(400, "'mask' must be base64") from None
    if len(bits) != -(-pixels // 8):
        raise RefusedError(400, f"'mask' must hold {size[0]} x {size[1]} bits")
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=pixels).reshape(size).astype(np.bool_)
