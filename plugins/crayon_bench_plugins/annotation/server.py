"""The annotation server: pages, pictures, and the three things that a page can ask for: next, answer, undo."""

import asyncio
import math
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from crayon_bench import UserError
from crayon_bench.errors import one_line
from crayon_bench_plugins.annotation.answers.tasks import WORDS, Answer, Task, check_answer
from crayon_bench_plugins.annotation.desk import AHEAD, Desk, Seat
from crayon_bench_plugins.annotation.doors import App, Doors, Keys, RefusedError
from crayon_bench_plugins.annotation.material import Material
from crayon_bench_plugins.annotation.pictures import Pictures
from crayon_bench_plugins.annotation.view import View
from crayon_bench_plugins.annotation.wire import form_of, json_of, number_of, unpack, via_of

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
_MOST_CLASSES = 12
"""Classes that the guide names."""
_SMALL = 100
"""Images of fewer pixels a side are shown in squares, as on the stage."""
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
    instructions: str = ""
    """HTML in place of the guide's words, from :mod:`crayon_bench_plugins.annotation.instructions`."""

    def __post_init__(self) -> None:
        environment = Environment(
            loader=PackageLoader("crayon_bench_plugins.annotation"), autoescape=True, undefined=StrictUndefined
        )
        self.templates = {name: environment.get_template(f"{name}.html") for name in ("start", "work", "agreement")}
        folder = files("crayon_bench_plugins.annotation") / "static"
        self.static = {name: (folder / name).read_bytes() for name in STATIC}
        self.view = View(self.material, self.desk, self.pictures)

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

    # -- pages

    async def home(self, request: Request) -> Response:
        """Return the page for work, or the one that asks who it is."""
        if (seat := self.seat(request)) is None:
            return self.start(None)
        return self._page(
            "work",
            annotator=seat.name,
            guide=seat.history.length == 0 and self.desk.progress(seat).total > 0,
            instructions=Markup(self.instructions),
            examples=self.view.examples(),
            classes=self.material.class_names[:_MOST_CLASSES],
            more=max(0, len(self.material.class_names) - _MOST_CLASSES),
            small=max(self.material.image_size) < _SMALL,
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
        form = await form_of(request)
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
        draws = asyncio.get_running_loop().run_in_executor(self.view.drawing, self.view.agreement, seat.name)
        try:
            found = await draws
        except UserError as error:
            raise RefusedError(503, str(error)) from None
        return self._page("agreement", annotator=seat.name, **found)

    async def file(self, request: Request) -> Response:
        """Return a file of the page."""
        name = request.path_params["name"]
        if name not in self.static:
            raise RefusedError(404, "there is no such page")
        return Response(self.static[name], media_type=STATIC[name])

    async def image(self, request: Request) -> Response:
        """Return a picture of a question."""
        self.required(request)
        place, name = number_of(request.path_params["place"]), request.path_params["name"]
        kind = name.removesuffix(".png")
        if (
            place is None
            or place >= len(self.desk.ids)
            or name == kind
            or kind not in self.view.question(place)["pictures"]
        ):
            raise RefusedError(404, "there is no such picture")
        png = await asyncio.get_running_loop().run_in_executor(None, self.view.picture, place, kind)
        return Response(png, media_type="image/png")

    # -- what a page asks for

    async def next(self, request: Request) -> Response:
        """Return the questions in hand."""
        seat, body = self.required(request), await self._body(request)
        want = body.get("want", AHEAD)
        if type(want) is not int or not 1 <= want <= _MOST_AHEAD:
            raise RefusedError(400, f"'want' must be 1 to {_MOST_AHEAD}")
        return JSONResponse(self.view.state(seat, want))

    async def answer(self, request: Request) -> Response:
        """Record an answer; the response says that it is on the disk."""
        seat, body = self.required(request), await self._body(request)
        place, seconds = body.get("place"), body.get("seconds", 0.0)
        if type(place) is not int or not 0 <= place < len(self.desk.ids):
            raise RefusedError(400, "there is no such question")
        if type(seconds) not in (int, float) or not 0 <= seconds <= _LONGEST:
            raise RefusedError(400, f"'seconds' must be 0 to {_LONGEST:.0f}")
        via = via_of(body)
        answer = await self._answer(seat, body.get("answer"))
        self.view.busy += 1
        try:
            await self.desk.answer(seat, place, answer, seconds=float(seconds), via=via)
        except UserError as error:
            raise RefusedError(503, str(error)) from None
        finally:
            self.view.busy -= 1
        return JSONResponse({"saved": place, **self.view.state(seat)})

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
            done = await self.desk.undo(seat, via_of(body))
        except UserError as error:
            raise RefusedError(503, str(error)) from None
        undone = None
        if done is not None:
            place, event = done
            question = None if place is None else self.view.question(place)
            undone = {"question": question, "id": event.example, "answer": self.view.recorded(seat, event)}
        return JSONResponse({"undone": undone, **self.view.state(seat)})

    async def _body(self, request: Request) -> dict[str, Any]:
        body = await json_of(request)
        if body.get("set") != self.desk.manifest.digest[:16]:
            raise RefusedError(409, "the server asks other questions now; load the page again")
        return body


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
