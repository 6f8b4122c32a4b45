"""``oracle stats`` tells what the oracle answered, and how the answers go with the class."""

import json
import re
from pathlib import Path

FACES = ["--dataset", "celeba", "--source", "standin", "--seeds", "0,"]
SIZES = ("dataset.majority=20", "dataset.minority=4", "dataset.test=4", "dataset.validation=4", "original.epochs=1")
SMALL = [part for pair in SIZES for part in ("--set", pair)]


def table(text: str) -> dict[str, dict[str, int]]:
    """Return the first table's counts: row → answer → how many."""
    lines = text.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("maps of"))
    answers = lines[begin].split()[2:]
    found = {}
    for line in lines[begin + 2 :]:
        counts = re.findall(r"([\d,]+) \([\d.]+%\)", line)
        if len(counts) != len(answers):
            return found
        found[line.split("  ")[0]] = dict(zip(answers, (int(n.replace(",", "")) for n in counts), strict=True))
    return found


def test_the_counts_are_those_of_a_run_and_add_up_over_the_classes(cli):
    told = cli("oracle", "stats", *FACES, *SMALL, "--store", "store")
    assert told.code == 0, told.err
    counts = table(told.out)
    assert sum(counts["all"].values()) == 48
    classes = [counts["not smiling"], counts["smiling"]]
    assert {name: sum(one[name] for one in classes) for name in counts["all"]} == counts["all"]
    neurons = {name: int(n) for n, name in re.findall(r"(\d+) (yes|no)", told.out.partition("neurons:")[2])}

    methods = "crayon-attention,crayon-pruning"
    assert cli("run", *FACES, *SMALL, "--set", "refine.epochs=1", "--methods", methods, "--store", "store").code == 0
    records = [json.loads(file.read_text()) for file in Path("store/runs").glob("*/record.json")]
    verdicts = {kind: tally for record in records for kind, tally in record["feedback"]["verdicts"].items()}
    assert {**verdicts["map_verdict"], "unasked": 0} == counts["all"]
    assert {name: n for name, n in verdicts["neuron_verdict"].items() if n} == neurons


def test_how_well_the_answer_alone_tells_the_class(cli):
    all_yes = ["--set", "oracle.yes_above=0.0", "--set", "oracle.no_below=0.0"]
    told = cli("oracle", "stats", *FACES, *SMALL, *all_yes, "--store", "store")
    counts = table(told.out)
    best = sum(max(counts[name][answer] for name in counts if name != "all") for answer in counts["all"])
    guess, base = re.search(r"tells the class of ([\d.]+)% .* commonest, ([\d.]+)%", told.out).groups()
    assert (guess, base) == (f"{100 * best / 48:.1f}", "50.0")
