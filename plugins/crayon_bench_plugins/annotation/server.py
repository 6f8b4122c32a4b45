"""The annotation server: pages, pictures, and the three things that a page can ask for: next, answer, undo."""

import asyncio
import base64
import binascii
import json
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from crayon_bench import UserError
from crayon_bench.errors import one_line
from crayon_bench_plugins.annotation.agreement import agreement as measure
from crayon_bench_plugins.annotation.answers.events import Event, Via
from crayon_bench_plugins.annotation.answers.tasks import WORDS, Answer, Bools, Task, check_answer, is_word
from crayon_bench_plugins.annotation.answers.votes import votes_of
from crayon_bench_plugins.annotation.desk import AHEAD, Desk, Seat
from crayon_bench_plugins.annotation.doors import App, Doors, Keys, RefusedError
from crayon_bench_plugins.annotation.material import Material
from crayon_bench_plugins.annotation.pictures import Pictures

STATIC = {
    "annotate.css": "text/css",
    "page.js": "text/javascript",
    "stage.js": "text/javascript",
    "box.js": "text/javascript",
    "mask.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
"""Every file that is served as it is; there are no others."""

_MOST_AHEAD = 8
_LONGEST = 24 * 3600.0
"""Seconds that a page may say a question was on display."""
_SHOWN_DISAGREEMENTS = 200
_IDLE = 2
"""With so many answers in hand at a time, there is time to draw ahead."""
_MOST_DRAWN = 16
"""Questions whose pictures wait to be drawn ahead."""
_LONG_NAME = 14
"""Characters of a class's name from which on it gets two lines, on every page, so that nothing moves."""


@dataclass
class Service:
    """What the pages are made from."""

    material: Material
    desk: Desk
    pictures: Pictures
    keys: Keys
    annotator: str | None
    """Whose answers these are, if the page need not ask."""
    cookie: str

    def __post_init__(self) -> None:
        environment = Environment(
            loader=PackageLoader("crayon_bench_plugins.annotation"), autoescape=True, undefined=StrictUndefined
        )
        self.templates = {name: environment.get_template(f"{name}.html") for name in ("start", "work", "agreement")}
        folder = files("crayon_bench_plugins.annotation") / "static"
        self.static = {name: (folder / name).read_bytes() for name in STATIC}
        self.drawing = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._drawn: dict[int, Future[None]] = {}
        self.busy = 0

    @property
    def task(self) -> Task:
        """What is asked about."""
        return self.material.task

    # -- who it is

    def seat(self, request: Request) -> Seat | None:
        """Return the seat of who is signed in; None if nobody is."""
        name = self.keys.name(request.cookies.get(self.cookie))
        if self.annotator is not None and (name == self.annotator or self.keys.token is None):
            name = self.annotator
        elif self.annotator is not None:
            name = None
        try:
            return self.desk.seat(name) if name is not None else None
        except UserError as error:
            raise RefusedError(503, str(error)) from None

    def required(self, request: Request) -> Seat:
        """Return the seat of who is signed in. Raises RefusedError if nobody is."""
        if (seat := self.seat(request)) is None:
            raise RefusedError(401, "sign in first: load the page again")
        return seat

    # -- what there is to tell

    def question(self, place: int) -> dict[str, Any]:
        """Return what a page needs to show the question at a *place* of the order."""
        m, position = self.material, self.desk.positions[place]
        height, width = m.image_size
        shown: dict[str, Any] = {"place": place, "id": self.desk.ids[place], "height": height, "width": width}
        if m.patches is not None:
            there = m.patches.examples[position] >= 0
            shown["pictures"] = {"strip": f"/images/{place}/strip.png"}
            shown["patches"] = m.patches.boxes[position][there].tolist()
            shown["slots"] = len(there)
            return shown
        shown["pictures"] = {"image": f"/images/{place}/image.png"}
        shown["true"] = m.class_names[m.labels[position]]
        if m.maps is not None and m.predicted is not None:
            shown["pictures"]["overlay"] = f"/images/{place}/overlay.png"
            shown["coarse"] = m.maps.shape[1:] != m.image_size
            shown["predicted"] = m.class_names[m.predicted[position]]
            shown["right"] = bool(m.predicted[position] == m.labels[position])
            shown["dead"] = not bool(m.maps[position].any())
        return shown

    def state(self, seat: Seat, want: int = AHEAD) -> dict[str, Any]:
        """Return an annotator's questions in hand and their progress."""
        before = set(seat.held)
        places = self.desk.hand_out(seat, want)
        progress = self.desk.progress(seat)
        self.prepare([place for place in places if place not in before])
        return {
            "questions": [self.question(place) for place in places],
            "given": progress.given,
            "total": progress.total,
            "answered": progress.answered,
            "asked": progress.asked,
            "pace": None if progress.pace is None else round(progress.pace, 1),
            "minutes": None if progress.minutes_left is None else round(progress.minutes_left, 1),
            "elsewhere": self.desk.elsewhere(seat) if not places else 0,
        }

    def prepare(self, places: list[int]) -> None:
        """Draw the pictures of questions that will be asked for soon, unless there is something else to do."""
        for place in places if self.busy <= _IDLE else ():
            if self._drawn.get(place) is None and len(self._drawn) < _MOST_DRAWN:
                self._drawn[place] = self.drawing.submit(self._draw_all, place)

    def _draw_all(self, place: int) -> None:
        try:
            for kind in self.question(place)["pictures"]:
                self.picture(place, kind)
        finally:
            self._drawn.pop(place, None)

    def picture(self, place: int, kind: str) -> bytes:
        """Return a question's picture as PNG."""
        draw: Callable[[int], bytes] = getattr(self.pictures, kind)
        return draw(self.desk.positions[place])

    def recorded(self, seat: Seat, event: Event) -> Any:
        """Return an answer as a page can show it again: a word, a box, or a mask as :func:`pack` has it."""
        if self.task is Task.MASKS and isinstance(event.answer, str) and not is_word(event.answer):
            try:
                return {"mask": pack(self.desk.answers.read_mask(seat.name, event.answer, self.material.image_size))}
            except UserError:
                return None  # the answer is undone all the same; what was painted has to be painted again
        return event.answer

    # -- pages

    async def home(self, request: Request) -> Response:
        """Return the page for work, or the one that asks who it is."""
        if (seat := self.seat(request)) is None:
            return self.start(None)
        return self._page(
            "work",
            annotator=seat.name,
            guide=seat.history.length == 0,
            fixed=self.annotator is not None and self.keys.token is None,
            digest=self.desk.manifest.digest[:16],
            kind=self.material.kind,
            long=max(map(len, self.material.class_names)) > _LONG_NAME,
        )

    def start(self, problem: str | None, status: int = 200, name: str = "") -> Response:
        """Return the page that asks for a name, and for the token if there is one."""
        asks_name, asks_token = self.annotator is None, self.keys.token is not None
        values = {"problem": problem, "name": name, "asks_name": asks_name, "asks_token": asks_token}
        return self._page("start", status, **values)

    def _page(self, template: str, status: int = 200, /, **values: Any) -> Response:
        m = self.material
        shared = {"task": m.task.value, "title": m.title, "standin": m.standin, "asked": len(self.desk.ids)}
        return HTMLResponse(self.templates[template].render(**shared, **values), status)

    async def sign_in(self, request: Request) -> Response:
        """Take a name and a token."""
        form = await _form(request)
        name = self.annotator or form.get("name", "")
        try:
            self.keys.check(form.get("token", ""), request.client.host if request.client else "")
            seat = self.desk.seat(name)
        except RefusedError as refused:
            return self.start(refused.message, refused.status, name)
        except UserError as error:
            return self.start(error.message, 400, name[:80])
        answer = RedirectResponse("/", 303)
        secure = request.headers.get("origin", "").startswith("https://")  # behind something that does TLS
        answer.set_cookie(
            self.cookie, self.keys.cookie(seat.name), 30 * 86400, httponly=True, samesite="strict", secure=secure
        )
        return answer

    async def sign_out(self, request: Request) -> Response:
        """Forget who it is."""
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(self.cookie, httponly=True, samesite="strict")
        return answer

    async def agreement(self, request: Request) -> Response:
        """Return the page on where annotators agree."""
        if (seat := self.seat(request)) is None:
            return RedirectResponse("/", 303)
        # In the one thread that draws: it may take a while, and nobody's answers should wait for it.
        found = await asyncio.get_running_loop().run_in_executor(self.drawing, self._agreement, seat.name)
        return self._page("agreement", annotator=seat.name, **found)

    def _agreement(self, reader: str) -> dict[str, Any]:
        desk, answers = self.desk, self.desk.answers
        histories = desk.histories()
        votes = votes_of(histories)
        size = self.material.image_size
        try:
            found = measure(self.task, votes, lambda vote: answers.read_mask(vote.annotator, str(vote.answer), size))
        except UserError as error:
            raise RefusedError(503, str(error)) from None
        # Whoever is answering does not see what others said about a question that is still to come.
        own = next((set(history.current) for history in histories if history.annotator == reader), set())
        seen = [one for one in found.disputed if not own or one.example in own]
        shown = [
            {
                "example": one.example,
                "agreed": one.agreed,
                "outcome": one.outcome,
                "place": (place := desk.place.get(one.example)),
                "question": None if place is None else self.question(place),
                "said": [(v.annotator, v.answer) for v in votes[one.example] if isinstance(v.answer, str)],
                "drawn": [(v.annotator, v.answer) for v in votes[one.example] if not isinstance(v.answer, str)],
            }
            for one in seen[:_SHOWN_DISAGREEMENTS]
        ]
        hidden = len(found.disputed) - len(seen)
        return {
            "found": found,
            "shown": shown,
            "seen": len(seen),
            "hidden": hidden,
            "judged": self.task.judged,
            "height": size[0],
            "width": size[1],
        }

    async def file(self, request: Request) -> Response:
        """Return a file of the page."""
        name = request.path_params["name"]
        if name not in self.static:
            raise RefusedError(404, "there is no such page")
        return Response(self.static[name], media_type=STATIC[name])

    async def image(self, request: Request) -> Response:
        """Return a picture of a question."""
        self.required(request)
        place, name = _number(request.path_params["place"]), request.path_params["name"]
        kind = name.removesuffix(".png")
        if place is None or place >= len(self.desk.ids) or name == kind or kind not in self.question(place)["pictures"]:
            raise RefusedError(404, "there is no such picture")
        png = await asyncio.get_running_loop().run_in_executor(None, self.picture, place, kind)
        return Response(png, media_type="image/png")

    # -- what a page asks for

    async def next(self, request: Request) -> Response:
        """Return the questions in hand."""
        seat, body = self.required(request), await self._body(request)
        want = body.get("want", AHEAD)
        if type(want) is not int or not 1 <= want <= _MOST_AHEAD:
            raise RefusedError(400, f"'want' must be 1 to {_MOST_AHEAD}")
        return JSONResponse(self.state(seat, want))

    async def answer(self, request: Request) -> Response:
        """Record an answer; the response says that it is on the disk."""
        seat, body = self.required(request), await self._body(request)
        place, seconds = body.get("place"), body.get("seconds", 0.0)
        if type(place) is not int or not 0 <= place < len(self.desk.ids):
            raise RefusedError(400, "there is no such question")
        if type(seconds) not in (int, float) or not 0 <= seconds <= _LONGEST:
            raise RefusedError(400, f"'seconds' must be 0 to {_LONGEST:.0f}")
        via = _via(body)
        answer = await self._answer(seat, body.get("answer"))
        self.busy += 1
        try:
            await self.desk.answer(seat, place, answer, seconds=float(seconds), via=via)
        except UserError as error:
            raise RefusedError(503, str(error)) from None
        finally:
            self.busy -= 1
        return JSONResponse({"saved": place, **self.state(seat)})

    async def _answer(self, seat: Seat, given: Any) -> Answer:
        """Return an answer as it is recorded; what was painted is kept. Raises RefusedError."""
        if self.task is Task.MASKS and isinstance(given, dict):
            mask = unpack(given.get("mask"), self.material.image_size)
            if not mask.any():
                raise RefusedError(400, "nothing is painted")
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    None, self.desk.answers.write_mask, seat.name, mask
                )
            except UserError as error:
                raise RefusedError(503, str(error)) from None
        if isinstance(given, str) and given not in WORDS[self.task]:
            raise RefusedError(400, f"expected one of {', '.join(sorted(WORDS[self.task]))}")
        try:
            return check_answer(self.task, given, self.material.image_size)
        except (ValueError, TypeError, RecursionError) as error:
            raise RefusedError(400, str(error)) from None

    async def undo(self, request: Request) -> Response:
        """Take the last answer back."""
        seat, body = self.required(request), await self._body(request)
        try:
            done = await self.desk.undo(seat, _via(body))
        except UserError as error:
            raise RefusedError(503, str(error)) from None
        undone = None
        if done is not None:
            place, event = done
            question = None if place is None else self.question(place)
            undone = {"question": question, "id": event.example, "answer": self.recorded(seat, event)}
        return JSONResponse({"undone": undone, **self.state(seat)})

    async def _body(self, request: Request) -> dict[str, Any]:
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise RefusedError(415, "expected application/json")
        try:
            body = json.loads(await request.body(), parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise RefusedError(400, "expected JSON") from None
        if not isinstance(body, dict):
            raise RefusedError(400, "expected an object")
        if body.get("set") != self.desk.manifest.digest[:16]:
            raise RefusedError(409, "the server asks other questions now; load the page again")
        return body


def _no_number(text: str) -> Any:
    raise ValueError(text)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _via(body: dict[str, Any]) -> Via:
    try:
        return Via(str(body.get("via")))
    except ValueError:
        raise RefusedError(400, "'via' must be key, pointer or touch") from None


async def _form(request: Request) -> dict[str, str]:
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


def make_app(service: Service, hosts: tuple[str, ...]) -> App:
    """Return the server's application, behind its doors."""
    routes = [
        Route("/", service.home),
        Route("/agreement", service.agreement),
        Route("/start", service.sign_in, methods=["POST"]),
        Route("/leave", service.sign_out, methods=["POST"]),
        Route("/static/{name}", service.file),
        Route("/images/{place}/{name}", service.image),
        Route("/api/next", service.next, methods=["POST"]),
        Route("/api/answer", service.answer, methods=["POST"]),
        Route("/api/undo", service.undo, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={RefusedError: _refused, HTTPException: _unknown})
    app.router.redirect_slashes = False
    return Doors(app, hosts, largest=max(16384, 2 * math.prod(service.material.image_size)))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return JSONResponse({"error": error.message}, error.status)


async def _unknown(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = "there is no such page" if error.status_code == 404 else error.detail
    return JSONResponse({"error": one_line(message)}, error.status_code)
