"""The annotation server is attacked: no traceback, no 500, and nothing is written but answers."""

import base64
import contextlib
import json
import os
import random
import re
import socket
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from annotation_site import SIZE, Client, Site
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.tasks import Task

pytestmark = pytest.mark.slow

CASES = 5000 if os.environ.get("CRAYON_BENCH_FUZZ") == "full" else 300
EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("maps"), "maps", 30, overlap=1)
    yield site
    site.close()
    assert "Traceback" not in site.log


@pytest.fixture
def locked(tmp_path):
    site = Site(tmp_path, "maps", 5, token="correct horse", name="Annotate.example.org")
    yield site
    site.close()
    assert "Traceback" not in site.log


def raw(site: Site, request: bytes, patience: float = 20) -> bytes:
    """Send bytes and return what comes back, b"" if the connection is closed, or nothing comes for *patience* seconds."""
    parts = []
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", site.port), timeout=patience) as wire:
        wire.sendall(request)
        while part := wire.recv(65536):
            parts.append(part)
            if b"connection: close" not in b"".join(parts).lower():
                wire.settimeout(0.2)  # it is kept open
    return b"".join(parts)


def status(response: bytes) -> int:
    return int(response.split(b" ", 2)[1]) if response.startswith(b"HTTP/1.1 ") else 0


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    own = {"host": "127.0.0.1", "content_length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in own.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e/desk.py",
        "/static/%00",
        "/static/annotate.css/",
        "/images/../answers/maps/questions.json",
        "/images/0/../../../etc/passwd",
        "/images/0/image.png.png",
        "/images/0/image",
        "/images/-1/image.png",
        "/images/30/image.png",
        "/images/%D9%A3/image.png",
        f"/images/{'9' * 5000}/image.png",
        "/images/0/strip.png",
        "/images/0/__init__.png",
        "/answers/maps/questions.json",
        "//etc/passwd",
        "/api/next",
        "/start",
    ],
)
def test_there_is_nothing_but_the_pages(maps, path):
    client = Client(maps, "Ada")
    client.connection.putrequest("GET", path, skip_accept_encoding=True)
    client.connection.putheader("cookie", client.cookie)
    client.connection.endheaders()
    response = client.connection.getresponse()
    body = json.loads(response.read())
    assert response.status == (405 if path in ("/api/next", "/start") else 404), path
    assert body["error"].count("\n") == 0


def test_every_response_says_that_it_may_do_nothing(maps):
    client = Client(maps, "Ada")
    for path in ("/", "/agreement", "/static/page.js", "/images/0/overlay.png", "/nowhere"):
        client.call("GET", path)
        policy = client.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'")
        assert "unsafe" not in policy
        assert client.headers["x-content-type-options"] == "nosniff"
        assert client.headers["referrer-policy"] == "same-origin"
        assert client.headers["cache-control"] == "no-store"
        assert client.headers["server"] is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": "127.0.0.1@evil.example"}, 421),
        ({"host": "[::1"}, 421),
        ({"host": ""}, 421),
        ({"host": "10.0.0.1"}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"content_length": "99999999"}, 413),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "multipart/form-data"}, 415),
        ({}, 401),
        ({"host": "localhost:1234", "origin": "http://localhost:1234", "sec_fetch_site": "same-origin"}, 401),
        ({"cookie": "who=QWRh.00"}, 401),
        ({"cookie": "who=" + base64.b64encode(b"../../Ada").decode() + "." + "0" * 64}, 401),
    ],
    ids=str,
)
def test_a_request_from_elsewhere_records_nothing(maps, headers, expected):
    client = Client(maps, "Ada")
    before = recorded(maps)
    cookie = {} if expected == 401 else {"cookie": client.cookie}
    body = json.dumps({"set": client.set, "place": 20, "answer": "yes", "via": "key"}).encode()
    sent = request("POST", "/api/answer", body, **{"content_type": "application/json", **cookie, **headers})
    assert status(raw(maps, sent)) == expected
    assert recorded(maps) == before


def recorded(site: Site) -> dict[str, dict[str, object]]:
    histories, _ = Answers(site.answers).histories(Task(site.task))
    return {h.annotator: {name: event.answer for name, event in h.current.items()} for h in histories}


@pytest.mark.parametrize("length", [b"", b"transfer-encoding: chunked\r\n"], ids=["announced", "chunked"])
def test_a_body_that_is_too_large_is_refused(maps, length):
    client = Client(maps, "Ada")
    head = (
        f"POST /api/answer HTTP/1.1\r\nhost: 127.0.0.1\r\ncookie: {client.cookie}\r\ncontent-type: application/json\r\n"
    )
    body = b" " * 200_000
    if length:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    sent = head.encode() + (length or b"content-length: 200000\r\n") + b"\r\n" + body
    assert status(raw(maps, sent)) == 413


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"place": -1}, 400),
        ({"place": 10**30}, 400),
        ({"place": "0"}, 400),
        ({"place": True}, 400),
        ({"place": 0.0}, 400),
        ({"answer": "YES"}, 400),
        ({"answer": None}, 400),
        ({"answer": ["yes"]}, 400),
        ({"answer": {"mask": "AA=="}}, 400),
        ({"answer": "a" * 64}, 400),
        ({"answer": [0, 0, 1, 1]}, 400),
        ({"via": "mind"}, 400),
        ({"via": "import"}, 400),
        ({"via": {}}, 400),
        ({"seconds": -1}, 400),
        ({"seconds": "1"}, 400),
        ({"seconds": 1e300}, 400),
        ({"set": "0" * 16}, 409),
        ({"set": None}, 409),
    ],
    ids=str,
)
def test_an_answer_that_is_none_is_refused(maps, change, expected):
    client = Client(maps, "Ada")
    before = recorded(maps)
    good = {"set": client.set, "place": 3, "answer": "yes", "via": "key", "seconds": 1}
    body = json.dumps({**good, **change}).encode()
    reply = json.loads(client.call("POST", "/api/answer", body, {"content-type": "application/json"}))
    assert client.status == expected and reply["error"]
    assert recorded(maps) == before
    for broken in (b"", b"{", b"[]", b"\xff", b"[" * 9000, b'{"place": ' + b"9" * 9000 + b"}", b'{"place": NaN}'):
        client.call("POST", "/api/answer", broken, {"content-type": "application/json"})
        assert client.status == 400


@pytest.mark.parametrize(
    ("task", "answer"),
    [
        ("boxes", [0, 0, 0, 5]),
        ("boxes", [0, 0, SIZE[0] + 1, 5]),
        ("boxes", [-1, 0, 5, 5]),
        ("boxes", [0, 0, 5.0, 5]),
        ("boxes", [0, 0, 5]),
        ("boxes", "yes"),
        ("masks", {"mask": ""}),
        ("masks", {"mask": "%%%%"}),
        ("masks", {"mask": base64.b64encode(b"\xff" * 39).decode()}),
        ("masks", {"mask": base64.b64encode(b"\xff" * 41).decode()}),
        ("masks", {"mask": base64.b64encode(b"\x00" * 40).decode()}),
        ("masks", {"mask": base64.b64encode(b"\x89PNG\r\n\x1a\n" * 200).decode()}),
        ("masks", {"mask": 5}),
        ("masks", {}),
        ("masks", "../../../etc/passwd"),
    ],
    ids=str,
)
def test_a_drawing_that_is_none_is_refused(drawn, task, answer):
    client = Client(drawn[task], "Ada")
    client.answer(0, answer)
    assert client.status == 400
    assert not list(drawn[task].answers.rglob("*.png")) and not recorded(drawn[task])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    sites = {task: Site(tmp_path_factory.mktemp(task), task, 3) for task in ("boxes", "masks")}
    yield sites
    for site in sites.values():
        site.close()
        assert "Traceback" not in site.log


class Attributes(HTMLParser):
    """The names of all attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.seen |= {name for name, _ in attrs}


def test_names_are_shown_and_never_become_markup_or_paths(tmp_path):
    site = Site(tmp_path, "maps", 6, overlap=1)
    try:
        for i, name in enumerate((EVIL, "../../../../tmp/evil", "con/../x", "{{ 7 * 7 }}", "a" * 80)):
            client = Client(site, name)
            client.answer(0, ("yes", "no")[i % 2])
            assert client.status == 200
        for name in ("", " ", "\n", "a" * 81, "x\x00y", "\ud800".encode("utf-16", "surrogatepass").decode("latin-1")):
            Client(site, name)  # refused: nobody is signed in
        client = Client(site, EVIL)
        pages = client.call("GET", "/").decode() + client.call("GET", "/agreement").decode()
        assert EVIL not in pages and "&lt;img src=x onerror=alert(1)&gt;" in pages
        assert "<script>alert" not in pages and "<i>noise" not in pages and ">49<" not in pages
        assert re.findall(r"<script[^>]*>", pages) == ['<script type="module" src="/static/page.js">']
        attributes = Attributes()
        attributes.feed(pages)
        assert "title" in attributes.seen
        assert not any(name.startswith("on") or name == "style" for name in attributes.seen)
        inside = {file.relative_to(tmp_path).parts[0] for file in tmp_path.rglob("*")}
        assert inside == {"answers", "log.txt"}
        assert len(list(site.answers.glob("maps/[!.]*.jsonl"))) == 5
    finally:
        site.close()


def test_the_token(locked):
    page = Client(locked).call("GET", "/").decode()
    assert 'name="token"' in page
    for path in ("/images/0/image.png", "/agreement"):
        client = Client(locked)
        client.call("GET", path)
        assert client.status in (401, 303)
    free = Client(locked)
    free.cookie = "who=" + base64.urlsafe_b64encode(b"Ada").decode() + "." + "0" * 64
    assert "sign in" in free.ask("next", want=1)["error"] and free.status == 401
    right = Client(locked, "Ada", token="correct horse")
    assert right.status == 200 and right.ask("next", want=1)["questions"]
    assert "correct" not in right.cookie
    wrong = Client(locked)
    wrong.call("POST", "/start", b"name=Ada&token=nope", {"content-type": "application/x-www-form-urlencoded"})
    assert wrong.status == 403 and wrong.headers["set-cookie"] is None
    tries = []
    for _ in range(6):
        late = Client(locked)
        late.call("POST", "/start", b"name=Ada&token=nope", {"content-type": "application/x-www-form-urlencoded"})
        tries.append(late.status)
    assert tries == [403] * 4 + [429] * 2
    assert right.ask("next", want=1)["questions"]  # who is in stays in
    # Behind a proxy that keeps the name and does TLS: the cookie is for TLS alone.
    locked.kill()
    locked.start()
    assert right.cookie  # and a cookie outlives the server
    again = Client(locked)
    again.cookie, again.set = right.cookie, right.set
    assert again.ask("next", want=1)["questions"]
    proxied = {"host": "annotate.example.org", "origin": "https://annotate.example.org"}
    form = {"content_type": "application/x-www-form-urlencoded", **proxied}
    response = raw(locked, request("POST", "/start", b"name=Bo&token=correct+horse", **form)).decode()
    cookie = re.search(r"set-cookie: (.*)\r\n", response).group(1).lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "secure" in cookie


def mangled(dice: random.Random, client: Client) -> bytes:
    """A request that is wrong in one or several ways, or right by accident."""
    junk = lambda n: bytes(dice.randrange(256) for _ in range(dice.randrange(n)))  # noqa: E731
    values: list[object] = [
        0,
        -1,
        1.5,
        True,
        None,
        "",
        "yes",
        "é" * 50,
        [],
        {},
        [[[]]],
        {"mask": "AAAA"},
        10**40,
        "x" * 3000,
    ]
    posted = ["/api/answer"] * 6 + ["/api/next", "/api/undo", "/start", "/leave"]
    got = [
        "/",
        "/agreement",
        "/static/page.js",
        "/static/",
        "/images/0/image.png",
        f"/images/{dice.randrange(99)}/a.png",
    ]
    path = dice.choice(posted * 2 + got + ["/" + "a" * dice.randrange(9000)])
    method = "POST" if path in posted else "GET"
    if dice.random() < 0.1:
        method = dice.choice(["GET", "POST", "HEAD", "PUT", "OPTIONS", "TRACE", "CONNECT", "get", "G" * 40])
    if dice.random() < 0.2:
        cut = dice.randrange(len(path) + 1)
        path = path[:cut] + dice.choice(["..", "%2e%2e%2f", "%00", "//", "?", "#", ";", "\\", "%", "é"]) + path[cut:]
    body: object = {
        "set": client.set,
        "place": dice.randrange(30),
        "answer": dice.choice(["yes", "no", "maybe", "skip"]),
    }
    body |= {"via": dice.choice(["key", "pointer", "touch"]), "seconds": dice.random(), "want": dice.randrange(10)}
    for _ in range(dice.choice([0, 0, 1, 2])):
        body[dice.choice([*body, "other"])] = dice.choice(values)  # type: ignore[index]
    sent = json.dumps(body if dice.random() < 0.9 else dice.choice(values)).encode()
    if path == "/start":
        sent = b"name=" + dice.choice([b"Ada", b"%00", b"%ff", b"%3Cb%3E", b"a" * 200, b"..%2f..", junk(20)])
    if dice.random() < 0.15:
        cut = dice.randrange(len(sent) + 1)
        sent = sent[:cut] + junk(50) + sent[cut + dice.randrange(5) :]
    kind = "application/x-www-form-urlencoded" if path in ("/start", "/leave") else "application/json"
    headers = {"host": "127.0.0.1", "content-type": kind, "content-length": str(len(sent)), "cookie": client.cookie}
    for _ in range(dice.choice([0, 0, 0, 1, 2])):
        name = dice.choice([*headers, "origin", "sec-fetch-site", "transfer-encoding", "expect", "upgrade", "x" * 300])
        headers[name] = dice.choice(
            ["", "evil.example", "chunked", "-1", "99999999", "0", "h2c", "1" * 400, "100-continue", "\x01"]
        )
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    whole = f"{method} {path} HTTP/1.1\r\n{lines}connection: close\r\n\r\n".encode() + sent
    if dice.random() < 0.05:
        cut = dice.randrange(len(whole))
        whole = whole[:cut] + junk(30) + whole[cut:]
    return whole[: dice.randrange(len(whole))] if dice.random() < 0.03 else whole


def test_fuzzed_requests(tmp_path):
    site = Site(tmp_path, "maps", 30)
    dice = random.Random(11)
    seen: Counter[int] = Counter()
    try:
        client = Client(site, "Ada")
        for _ in range(CASES):
            sent = mangled(dice, client)
            got = status(raw(site, sent, patience=0.5))
            seen[got] += 1
            assert got < 500 or got == 503, (got, sent[:3000])
        client = Client(site, "Ada")
        assert client.ask("next", want=1) and client.status == 200  # it is still there
    finally:
        site.close()
    print(f"{CASES} fuzzed requests: " + ", ".join(f"{code}: {n}" for code, n in sorted(seen.items())))
    assert seen[200] > CASES / 20 and seen[400] > CASES / 20
    assert "Traceback" not in site.log and "Error:" not in site.log, site.log[-2000:]
    assert {file.relative_to(tmp_path).parts[0] for file in tmp_path.rglob("*")} == {"answers", "log.txt"}
    assert {file.name for file in site.answers.iterdir()} == {"maps"}
    recorded(site)  # every line can be read
    for file in site.answers.glob("maps/*"):
        assert file.name == "questions.json" or re.fullmatch(r"\.?[a-z0-9-]+\.(jsonl|lock)", file.name), file


def test_it_is_not_started_where_others_could_reach_it_without_a_token(cli):
    base = ["annotate", "serve", "--dataset", "decoymnist", "--task", "maps"]
    for options, told in (
        (["--host", "0.0.0.0"], "add --token"),
        (["--host", "192.0.2.1"], "add --token"),
        (["--allow-host", "example.org"], "add --token"),
        (["--host", "0.0.0.0", "--token", "short"], "at least 8 characters"),
        (["--host", "a..b", "--token", "long enough"], "no address of this machine"),
        (["--overlap", "1.5"], "--overlap"),
        (["--annotator", "\n"], "annotator"),
    ):
        done = cli(*base, *options)
        assert done.code == 2 and told in done.err and done.err.count("\n") == 1, done.err
    assert not Path("answers").exists()


def test_a_port_that_is_taken_is_told(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli("annotate", "serve", "--dataset", "decoymnist", "--task", "maps", "--port", port)
    assert done.code == 2
    assert done.err == f"Error: --port {port}: another program listens there — choose another, or --port 0 for any\n"


def test_without_the_extra_it_says_what_to_install(cli, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    done = cli("annotate", "serve", "--dataset", "decoymnist", "--task", "maps")
    assert done.code == 2
    assert "pip install starlette uvicorn jinja2" in done.err and done.err.count("\n") == 1
