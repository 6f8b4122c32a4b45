"""From answers to score: what people enter through the page trains the very weights that the same answers by rule do."""

import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file

from annotation_site import Client
from crayon_bench.dataset import Source
from crayon_bench.store.records import Record
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.tasks import Task
from recorded import by_rule
from warm import Command

pytestmark = pytest.mark.slow

SIZES = ("dataset.majority=56", "dataset.minority=8", "dataset.test=4", "dataset.validation=4")
SETS = [*SIZES, "original.epochs=2", "refine.epochs=2"]
COMMON = ["--dataset", "celeba", "--source", "standin", *[word for pair in SETS for word in ("--set", pair)]]


def weights(store: str) -> tuple[dict, Record]:
    (folder,) = Path(store).glob("runs/*")
    record = Record.model_validate_json((folder / "record.json").read_bytes())
    assert record.status == "ok", record.reason
    return load_file(folder / "model.safetensors"), record


@pytest.mark.parametrize(("task", "method"), [("maps", "crayon-attention"), ("boxes", "energy")])
def test_answers_through_the_page_refine_to_the_same_bits_as_the_simulated_oracles(cli, task, method):
    arguments = {"datasets": ["celeba"], "methods": [method], "seeds": [0], "source": Source.STANDIN, "sets": SETS}
    by_rule(Path("rule"), arguments, Path("store"))
    (rule,), _ = Answers(Path("rule")).histories(Task(task))
    wanted = {name: event.answer for name, event in rule.current.items()}
    assert len(wanted) == 128 and len(set(map(str, wanted.values()))) > 1

    command = ["annotate", "serve", *COMMON, "--task", task, "--store", "store", "--answers", "page", "--port", "0"]
    process = Command(command)
    try:
        line = process.first_line()
        assert line.startswith("Open http://127.0.0.1:"), process.said(1)
        site = type("Site", (), {"port": int(line.split()[1].rstrip("/").rpartition(":")[2])})
        client = Client(site, "Ruth")
        state = client.ask("next")
        while state["questions"]:
            question = state["questions"][0]
            answer = wanted[question["id"]]
            state = client.answer(question["place"], answer if isinstance(answer, str) else list(answer))
            assert state["saved"] == question["place"], state
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    finally:
        if process.poll() is None:
            process.kill()

    run = ["run", *COMMON, "--seeds", "1", "--methods", method, "--keep-models"]
    for store, more in (("simulated", []), ("human", ["--oracle", "human", "--answers", "page"])):
        done = cli(*run, *more, "--store", store)
        assert done.code == 0, done.err
    (first, by_simulation), (second, by_people) = weights("simulated"), weights("human")
    assert by_people.feedback.total == by_simulation.feedback.total == 128
    assert by_people.feedback.verdicts == by_simulation.feedback.verdicts
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)
    assert sum(by_people.feedback.seconds.values()) > 0 == sum(by_simulation.feedback.seconds.values())


def test_a_second_server_about_the_same_task_is_refused_and_mistakes_leave_nothing(cli):
    serve = ["annotate", "serve", *COMMON, "--task", "boxes", "--port", "0", "--answers", "page", "--store", "store"]
    for option, value in (("--overlap", "nan"), ("--overlap", "1.5"), ("--limit", "0")):
        result = cli(*serve, option, value)
        assert result.code == 2 and option in result.err and "Traceback" not in result.err
        assert not Path("page").exists()
    process = Command(serve)
    try:
        assert process.first_line().startswith("Open http://127.0.0.1:"), process.said(1)
        second = cli(*serve)
        assert second.code == 2 and "another server is asking about boxes there" in second.err.splitlines()[-1]
        process.kill()  # which leaves no lock behind
        process.communicate()
        process = Command(serve)
        assert process.first_line().startswith("Open http://127.0.0.1:"), process.said(1)
    finally:
        process.kill()
        process.communicate()
