"""An annotation server in a process of its own, on drawn material that needs no model: for tests and load tests.

``python annotation_site.py TASK ANSWERS N [OPTION=VALUE …]`` serves; :class:`Site` starts, calls and kills that.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

SIZE = (20, 16)
NAMES = ("plain", "<script>alert('class')</script>")
CONTENT = "0" * 64


def material(task: str, n: int) -> Any:
    """Return what is asked about: n small images of noise, with maps or patches if the *task* wants them."""
    from crayon_bench.oracle import Patches
    from crayon_bench_plugins.annotation.answers.tasks import Task
    from crayon_bench_plugins.annotation.material import Material

    random = np.random.default_rng(7)
    kind = Task(task)
    own: dict[str, Any] = {}
    if kind.judged:
        own = {"model": "ab" * 32, "predicted": random.integers(0, 2, n)}
    if kind is Task.MAPS:
        own |= {"maps": random.random((n, 5, 4), dtype=np.float32), "kind": "logit"}
    elif kind is Task.NEURONS:
        corner = random.integers(0, 8, (n, 6, 2))
        examples = random.integers(0, n, (n, 6))
        examples[0, 4:] = -1
        own |= {"patches": Patches(np.arange(n), examples, np.concatenate([corner, corner + 8], -1)), "shown": (6, 1)}
    return Material(
        task=kind,
        title="Drawn <i>noise</i>",
        standin=True,
        ids=[f"image/{i:05}" for i in range(n)],
        labels=random.integers(0, 2, n),
        class_names=NAMES,
        images=random.integers(0, 256, (n, 3, *SIZE), dtype=np.uint8),
        dataset={"name": "noise", "source": "standin", "content": CONTENT},
        protocol="quick",
        seed=0,
        **own,
    )


def main(task: str, answers: str, n: str, *rest: str) -> None:
    """Serve on a free port, which is the first line that is printed."""
    from crayon_bench_plugins.annotation.answers.folder import Answers
    from crayon_bench_plugins.annotation.desk import Desk
    from crayon_bench_plugins.annotation.doors import Keys
    from crayon_bench_plugins.annotation.instructions import read_instructions
    from crayon_bench_plugins.annotation.listening import bound, run
    from crayon_bench_plugins.annotation.pictures import Pictures
    from crayon_bench_plugins.annotation.server import Service

    options = dict(part.partition("=")[::2] for part in rest)
    limit = options.get("limit")
    asked = material(task, int(n))
    desk = Desk(
        Answers(Path(answers)),
        asked.manifest(),
        overlap=float(options.get("overlap", 0)),
        limit=int(limit) if limit else None,
    )
    with bound("127.0.0.1", 0) as listener:
        own = read_instructions(Path(options["instructions"])) if "instructions" in options else ""
        keys = Keys(options.get("token"))
        service = Service(asked, desk, Pictures(asked), keys, options.get("annotator"), "who", own)
        print(listener.getsockname()[1], flush=True)
        run(service, listener, ("127.0.0.1", *filter(None, [options.get("name")])))
    desk.close()
    print("ended", flush=True)


class Site:
    """A running server. ``log`` is what it wrote to standard error; ``answers`` its folder."""

    def __init__(self, folder: Path, task: str, n: int, **options: object) -> None:
        self.folder, self.task, self.n = folder, task, n
        self.answers = folder / "answers"
        self.options = [f"{name}={value}" for name, value in options.items()]
        self.logs = folder / "log.txt"
        self.start()

    def start(self) -> None:
        """Start it (again)."""
        command = [sys.executable, __file__, self.task, str(self.answers), str(self.n), *self.options]
        with self.logs.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.strip().isdigit(), self.log
        self.port = int(line)

    @property
    def log(self) -> str:
        """What it wrote to standard error."""
        return self.logs.read_text(errors="replace")

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def stop(self) -> str:
        """End it as Ctrl-C does, and return what it printed."""
        self.process.send_signal(signal.SIGINT)
        out, _ = self.process.communicate(timeout=20)
        return out

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.process.poll() is None:
            self.kill()


class Client:
    """One annotator, by HTTP. ``status`` and ``headers`` are those of the last response."""

    def __init__(self, site: Site, name: str | None = None, token: str = "") -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
        self.cookie = ""
        self.status = 0
        self.headers: Any = {}
        self.set = ""
        if name is not None:
            form = urlencode({"name": name, "token": token})
            self.call("POST", "/start", form.encode(), {"content-type": "application/x-www-form-urlencoded"})
            self.cookie = (self.headers.get("set-cookie") or "").partition(";")[0]
            page = self.call("GET", "/").decode()
            self.set = page.partition('data-set="')[2].partition('"')[0]

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
        """Send a request and return the body of the response."""
        own = {"cookie": self.cookie} if self.cookie else {}
        self.connection.request(method, path, body, {**own, **(headers or {})})
        response = self.connection.getresponse()
        self.status, self.headers = response.status, response.headers
        return response.read()

    def ask(self, path: str, **body: object) -> Any:
        """Send JSON as the page does, and return the JSON that comes back."""
        sent = json.dumps({"set": self.set, **body}).encode()
        return json.loads(self.call("POST", f"/api/{path}", sent, {"content-type": "application/json"}))

    def answer(self, place: int, answer: object, **more: object) -> Any:
        """Answer a question."""
        return self.ask("answer", place=place, answer=answer, via="key", seconds=0.5, **more)


if __name__ == "__main__":
    main(*sys.argv[1:])
