"""The oracles that err and that shuffle: what they change, and that they change nothing else."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from conftest import TINY
from crayon_bench.feedback import FeedbackKind, Verdict
from crayon_bench.oracle import Patches, Situation
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.store.records import Record
from crayon_bench.testing.tiny import SIZE, TinySet

FOUND = TinySet.find(None, None, strict=True)
DATA = TinySet(TinySet.Parameters()).load(FOUND)
N = 1500
RUN = ["run", "--dataset", "decoymnist", *TINY, "--seeds", "1"]


class Many:
    """Evidence for many images: image i has its relevant pixels in row i mod 32, and its box there."""

    def has(self, what):
        return True

    def relevant_masks(self, examples):
        rows = np.arange(SIZE)[None, :, None] == (np.asarray(examples) % SIZE)[:, None, None]
        return np.broadcast_to(rows, (len(examples), SIZE, SIZE))

    def irrelevant_masks(self, examples):
        return ~self.relevant_masks(examples)

    def boxes(self, examples):
        row = examples % SIZE
        return np.stack([row, row * 0, row + 1, row * 0 + SIZE], axis=1)


def oracle(name, seed=0, **parameters):
    cls = Registry().load(Kind.ORACLE, name)
    made = cls(cls.Parameters(**parameters), seed=seed)
    labels = np.arange(N) // 7 % 3
    made.situation = Situation([f"x{i}" for i in range(N)], labels, "abc", {"name": "many"}, "0" * 64, (SIZE, SIZE))
    return made


def maps(kinds):
    """A map for each of n images of whose total all, half or nothing is on relevant pixels."""
    n = len(kinds)
    M = np.zeros((n, SIZE, SIZE), np.float32)
    for i, kind in enumerate(kinds):
        M[i, i % SIZE, 0] = {"yes": 1.0, "maybe": 0.3, "no": 0.0}[kind]
        M[i, (i + 1) % SIZE, 0] = 1 - M[i, i % SIZE, 0]
    return M


KINDS = np.random.RandomState(5).choice(["yes", "no", "maybe"], N)
MAPS, ALL = maps(KINDS), np.arange(N)
TRUE = np.array([{"yes": 1, "no": -1, "maybe": 0}[kind] for kind in KINDS])


def test_the_maps_of_this_test_are_judged_as_meant():
    assert (oracle("simulated").judge_maps(ALL, MAPS, Many()).values == TRUE).all()


def near(share, rate, n):
    return abs(share - rate) < 4 * np.sqrt(rate * (1 - rate) / n) + 1e-9


@pytest.mark.parametrize(("flip", "maybe"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.3), (0.25, 0.4), (1.0, 0.0), (0.5, 1.0)])
def test_verdicts_are_wrong_at_the_rates_asked_for(flip, maybe):
    given = oracle("noisy", map_flip=flip, map_maybe=maybe).judge_maps(ALL, MAPS, Many()).values
    sure = TRUE != Verdict.MAYBE
    assert (given[~sure] == Verdict.MAYBE).all()
    assert near((given[sure] == Verdict.MAYBE).mean(), maybe, sure.sum())
    kept = sure & (given != Verdict.MAYBE)
    if kept.any():
        assert near((given[kept] == -TRUE[kept]).mean(), flip, kept.sum())
    patches = Patches(ALL, ALL[:, None], np.tile([0, 0, SIZE, SIZE], (N, 1, 1)))
    neurons = oracle("noisy", neuron_flip=flip, neuron_maybe=maybe).judge_neurons(patches, Many()).values
    assert near((neurons == Verdict.MAYBE).mean(), maybe, N)
    assert near((neurons == Verdict.NO).mean(), flip * (1 - maybe), N)  # they are all relevant


def test_whether_an_answer_is_wrong_depends_on_the_image_and_the_seed_alone():
    whole = oracle("noisy", map_flip=0.3, map_maybe=0.2).judge_maps(ALL, MAPS, Many()).values
    some = np.random.RandomState(1).permutation(N)[:100]
    assert (
        oracle("noisy", map_flip=0.3, map_maybe=0.2).judge_maps(some, MAPS[some], Many()).values == whole[some]
    ).all()
    assert (oracle("noisy", 1, map_flip=0.3, map_maybe=0.2).judge_maps(ALL, MAPS, Many()).values != whole).any()


@pytest.mark.parametrize("what", ["mask", "box"])
def test_wrong_masks_and_boxes_are_those_of_others_and_withheld_ones_are_unanswered(what):
    noisy = oracle("noisy", **{f"{what}_flip": 0.3, f"{what}_maybe": 0.1})
    for ask in ("relevant_masks", "irrelevant_masks") if what == "mask" else ("boxes",):
        given, right = getattr(noisy, ask)(ALL, Many()), getattr(Many(), ask)(ALL)
        wrong = (given.values != right).reshape(N, -1).any(axis=1)
        assert near(1 - given.answered.mean(), 0.1, N)
        assert near(wrong.mean(), 0.3 * (SIZE - 1) / SIZE, N)  # of the others, one in 32 has the same truth
        same = getattr(oracle("noisy"), ask)(ALL, Many())
        assert same.answered.all() and (same.values == right).all()


def test_a_wrong_group_is_that_of_another():
    truth = ALL % 4
    given = oracle("noisy", group_flip=0.4, group_maybe=0.25).groups(ALL, truth)
    assert near((given.values != truth).mean(), 0.4 * 0.75, N) and near(given.answered.mean(), 0.75, N)


def test_noise_that_is_not_set_says_so():
    noisy = oracle("noisy")
    noisy.boxes(ALL, Many())
    noisy.judge_maps(ALL, MAPS, Many())
    assert list(noisy.warnings) == ["no noise is set for answers (box): they are the true ones"]


def predictions(store):
    (folder,) = Path(store).glob("runs/*")
    return pq.read_table(folder / "predictions.parquet").to_pydict(), Record.model_validate_json(
        (folder / "record.json").read_bytes()
    )


def test_noise_of_zero_is_the_simulated_oracle_with_the_protocols_cut_offs(cli):
    run = [*RUN, "--methods", "crayon-attention", "--set", "crayon-attention.beta=3"]
    zero = [f"oracle.{kind}_flip=0" for kind in ("map", "neuron")]
    assert cli(*run, "--store", "a").code == 0
    assert cli(*run, "--store", "b", "--oracle", "noisy", *[w for z in zero for w in ("--set", z)]).code == 0
    assert cli(*run, "--store", "c", "--oracle", "noisy", "--set", "oracle.map_flip=0.4").code == 0
    (a, first), (b, second), (_, third) = (predictions(store) for store in "abc")
    assert a == b and first.feedback == second.feedback
    assert first.coordinates["oracle"]["parameters"].items() <= second.coordinates["oracle"]["parameters"].items()
    assert third.feedback.verdicts != first.feedback.verdicts and third.feedback.total == first.feedback.total
    assert first.setting != second.setting  # another oracle is another table


def test_the_oracle_is_named_in_record_and_table(cli):
    result = cli(*RUN, "--methods", "rrr,energy,crayon-attention", "--oracle", "noisy")
    assert result.code == 0 and "Feedback by oracle: noisy" in result.out
    records = [Record.model_validate_json(file.read_bytes()) for file in Path("crayon-runs").glob("runs/*/record.json")]
    assert {record.title["oracle"] for record in records} == {"noisy"} and len(records) == 3


def test_mistakes_about_oracles(cli):
    for arguments, words in (
        (["--oracle", "noisy", "--set", "oracle.map_flip=2"], "oracle.map_flip"),
        (["--oracle", "shuffled"], "there is no oracle 'shuffled'"),
        (["--oracle", "nosy"], "did you mean 'noisy'"),
        (["--answers", "somewhere"], "reads no recorded answers"),
    ):
        result = cli(*RUN, "--methods", "rrr", *arguments)
        assert result.code == 2 and words in result.err and len(result.err.splitlines()) == 1, result.err


def test_kinds_that_noise_does_not_concern_have_rates_of_their_own():
    cls = Registry().load(Kind.ORACLE, "noisy")
    kinds = {kind.value.split("_")[0] for kind in FeedbackKind} - {"relevant", "irrelevant"} | {"mask"}
    assert {f"{kind}_{what}" for kind in kinds for what in ("flip", "maybe")} <= set(cls.Parameters.model_fields)
