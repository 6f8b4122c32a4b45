"""The conformance kit: all built-in plugins pass it, and each check catches what it is for, and nothing else."""

import contextlib
import io
import os
import pickle
import random
import subprocess
import sys
import time
from pickle import dumps

import numpy as np
import pytest
import torch
from pydantic import ConfigDict

from crayon_bench import Evidence, FeedbackKind, Found, GuardError, Method, Metric, Parameters, Verdict
from crayon_bench.dataset import LoadedData
from crayon_bench.guard import answering
from crayon_bench.ledger import metered
from crayon_bench.oracle import FeedbackOracle, Masks, Verdicts
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.testing import TinyOracle, TinySet, checks_for, common, parametrize_with_checks, run_checks
from helpers import method as method_source
from warm import Command

KINDS = (Kind.DATASET, Kind.ORACLE, Kind.METHOD, Kind.METRIC)


def built_in(*, drawn: bool) -> list[type]:
    """The built-in plugins; *drawn*: the data sets whose stand-ins take seconds to draw, or all others."""
    registry = Registry()
    return [
        registry.load(kind, name)
        for kind in KINDS
        for name in registry.names(kind)
        if (kind is Kind.DATASET and name in ("celeba", "waterbirds")) == drawn
    ]


@parametrize_with_checks(built_in(drawn=False))
def test_built_in_plugins_pass(plugin, check):
    check(plugin)


@pytest.mark.slow
@parametrize_with_checks(built_in(drawn=True))
def test_built_in_data_sets_that_are_drawn_pass(plugin, check):
    check(plugin)


# ---------------------------------------------------------------------------------------------------------------------
# bad plugins: check → plugins that it alone catches, each with words of the message


class Undescribed(Parameters):
    weight: float = 1.0


class Loose(Parameters):
    model_config = ConfigDict(extra="ignore")


class Good(Method):
    """Fine."""

    name, title, summary = "good", "Good", "trains on"

    def refine(self, job):
        return job.fit()


def a_method(refine=None, *, doc="Made for a test.", **attributes):
    body = {"__doc__": doc, "name": "mine", "title": "Mine", "summary": "for a test", **attributes}
    if refine is not None:
        body["refine"] = refine
    return type("Mine", (Good,), body)


def shaken(self, job):
    with torch.no_grad():
        for parameter in job.model.parameters():
            # Little, so that confidences differ: pushed far, they could all be 1 both times.
            parameter += 1e-3 * float(np.random.default_rng().normal())
    return job.model


def then_fit(do):
    def refine(self, job):
        do(job)
        return job.fit()

    return refine


def sets_threads(self, job):
    job.fit()
    torch.set_num_threads(2)
    return job.model


def account(job):
    return metered._accounts[job.oracle._number]


class Secret(Evidence):
    def boxes(self, examples):
        return np.zeros((len(examples), 4), np.int64)


def tries_in_vain(job):
    with contextlib.suppress(GuardError):
        Secret().boxes(np.arange(3))


def reads_behind(job):
    with answering():
        account(job).evidence.boxes(np.arange(3))


def writes(job):
    account(job).evidence._relevant[0, 0, 0] ^= True


def asks_uncounted(job):
    with answering():
        account(job).oracle.boxes(np.arange(3), account(job).evidence)


def changes_original(job):
    next(job.original.parameters()).data.add_(1)


def needs_both_groups(job):
    groups = job.oracle.groups(np.arange(len(job.images)))
    number = np.bincount(groups.values[groups.answered], minlength=4)
    if number[0] and not number[1]:
        raise ZeroDivisionError("no weight for an empty group")


def needs_both_classes(job):
    if len(job.labels.unique()) < job.classes:
        raise ValueError("needs all classes")


def spread(self, job):
    return job.fit(lambda forward, batch: forward.logits.std(dim=0).sum() + 0 * batch.labels)


def skips_if_asked(self, setting):
    if setting.unable:
        raise KeyError("in skip")


METHODS = {
    "check_metadata": [
        (a_method(Parameters=Undescribed), "parameter 'weight' has no description"),
        (a_method(doc=None), "no docstring"),
        (a_method(summary="  "), "'summary' must be a text of one line"),
        (a_method(version="1"), "'version' must be a whole number"),
    ],
    "check_unknown_parameter_rejected": [(a_method(Parameters=Loose), "keep extra='forbid'")],
    "check_fits_tiny_set": [
        (a_method(lambda self, job: "no model"), "refine() must return a model, not str"),
        (a_method(skip=lambda self, setting: "I never apply"), "I never apply"),
        (a_method(lambda self, job: sys.exit(3)), "SystemExit"),
    ],
    "check_same_seed_same_predictions": [(a_method(shaken), "job.seed('…')")],
    "check_global_state_left_as_found": [
        (a_method(then_fit(lambda job: random.random())), "random state of Python"),
        (a_method(then_fit(lambda job: np.random.rand())), "random state of numpy"),
        (a_method(then_fit(lambda job: torch.rand(1))), "random state of torch"),
        (a_method(sets_threads), "number of threads"),
        (a_method(then_fit(lambda job: os.chdir("/"))), "current folder"),
        (a_method(then_fit(lambda job: os.environ.update(KIT_OF_TESTS=repr(job)))), "environment variables"),
    ],
    "check_evidence_and_test_split_untouched": [
        (a_method(then_fit(tries_in_vain)), "reached for evidence, which the guards refused"),
        (a_method(then_fit(reads_behind)), "read boxes behind the oracle's back"),
        (a_method(then_fit(writes)), "changed the data set's own arrays"),
    ],
    "check_ledger_equals_calls": [(a_method(then_fit(asks_uncounted)), "answered 3 questions of the kind 'box', the ledger counted 0")],
    "check_original_model_untouched": [(a_method(then_fit(changes_original)), "of job.original")],
    "check_pickles_nothing": [
        (a_method(then_fit(lambda job: dumps(1))), "test_testing.py, line"),
        (a_method(then_fit(lambda job: pickle._Pickler(io.BytesIO()).dump(1))), "it pickles in"),
        (a_method(then_fit(lambda job: torch.save(job.model.state_dict(), io.BytesIO()))), "it pickles in"),
    ],
    "check_empty_group": [(a_method(then_fit(needs_both_groups), asks=(FeedbackKind.GROUP,)), "no weight for an empty group")],
    "check_single_class": [(a_method(then_fit(needs_both_classes)), "needs all classes")],
    "check_batch_of_one": [(a_method(spread), "with one example in a batch: TrainingError")],
    "check_skip_gives_reason": [
        (a_method(asks=(FeedbackKind.BOX,), skip=lambda self, setting: None), "no reason with the mlp and no feedback"),
        (a_method(skip=skips_if_asked), "in skip"),
        (a_method(skip=lambda self, setting: "" if setting.unable else None), "no reason in one line, but ''"),
    ],
}  # fmt: skip


def an_oracle(**attributes):
    body = {"__doc__": "Made for a test.", "name": "mine", "title": "mine", "summary": "for a test", **attributes}
    return type("Mine", (TinyOracle,), body)


def before_boxes(do):
    def boxes(self, examples, evidence):
        do(self, examples, evidence)
        return FeedbackOracle.boxes(self, examples, evidence)

    return boxes


def flips(self, examples, evidence):
    evidence._relevant[0, 0, 0] ^= True


def uncounted(self, examples, maps, evidence):
    class Free(Verdicts):
        @property
        def answered(self):
            return np.zeros(len(self.values), np.bool_)

    return Free(np.full(len(examples), Verdict.YES, np.int8))


def refuses_groups(number):
    def groups(self, examples, truth):
        if len(np.unique(truth)) == number:
            raise IndexError("too few groups")
        return FeedbackOracle.groups(self, examples, truth)

    return groups


def guesses(self, examples, maps, evidence):
    return Verdicts(np.random.default_rng().choice([-1, 1], len(examples)).astype(np.int8))


def fails_on_one(self, examples, evidence):
    if len(examples) == 1:
        raise IndexError("one is not enough")


def as_numbers(self, examples, evidence):
    return Masks(evidence.relevant_masks(examples).astype(np.uint8), np.ones(len(examples), np.bool_))


def no_reason(self, kind, dataset, found):
    return "" if kind is FeedbackKind.NEURON_VERDICT else None


ORACLES = {
    "check_metadata": [(an_oracle(Parameters=Undescribed), "'weight' has no description")],
    "check_unknown_parameter_rejected": [(an_oracle(Parameters=Loose), "keep extra='forbid'")],
    "check_answers_tiny_set": [
        (an_oracle(relevant_masks=as_numbers), "are uint8 (32, 32, 32), not bool (32, 32, 32)"),
        (an_oracle(judge_maps=lambda self, e, m, v: Verdicts(np.ones(3, np.int8))), "gave 3 answers to 32 questions"),
    ],
    "check_same_seed_same_answers": [(an_oracle(judge_maps=guesses), "'map_verdict' differ; take randomness from self.seed")],
    "check_global_state_left_as_found": [(an_oracle(boxes=before_boxes(lambda *_: np.random.rand())), "random state of numpy")],
    "check_evidence_untouched": [(an_oracle(boxes=before_boxes(flips)), "wrote into the evidence")],
    "check_ledger_equals_calls": [
        (an_oracle(judge_maps=uncounted), "gave 32 answers of the kind 'map_verdict', of which 0 were counted"),
        (an_oracle(judge_neurons=FeedbackOracle.judge_neurons), "no question was answered"),
    ],
    "check_pickles_nothing": [(an_oracle(boxes=before_boxes(lambda *_: dumps(1))), "it pickles in")],
    "check_empty_group": [(an_oracle(groups=refuses_groups(3)), "where a group is empty: IndexError: too few groups")],
    "check_single_class": [(an_oracle(groups=refuses_groups(2)), "with one class alone: IndexError: too few groups")],
    "check_batch_of_one": [(an_oracle(boxes=before_boxes(fails_on_one)), "to one question: IndexError")],
    "check_unable_gives_reason": [(an_oracle(unable=no_reason), "unable('neuron_verdict', …) must be None or a reason")],
}  # fmt: skip


def a_dataset(**attributes):
    body = {"__doc__": "Made for a test.", "title": "Mine", "summary": "for a test", **attributes}
    return type("Mine", (TinySet,), body)


def changed(**fields):
    def load(self, found):
        data = TinySet.load(self, found)
        every = {name: getattr(data, name) for name in LoadedData.__dataclass_fields__}
        return LoadedData(**{**every, **{name: change(data) for name, change in fields.items()}})

    return load


def before_load(do):
    def load(self, found):
        do()
        return TinySet.load(self, found)

    return load


class Open:
    """Evidence without a fence."""

    def has(self, what):
        return what == "boxes"

    def boxes(self, examples):
        return np.tile([0, 0, 4, 4], (len(examples), 1)).astype(np.int64)


ONLY_BOXES = {**dict.fromkeys(FeedbackKind, "there is no such evidence"), FeedbackKind.BOX: ""}


def redrawn(data):
    noise = np.random.default_rng().integers(0, 255, data.test.images.shape).astype(np.uint8)
    return type(data.test)(noise, data.test.labels, data.test.groups, data.test.ids)


def of_case(case):
    return lambda self, found: TinySet(self.parameters.model_copy(update={"case": case})).load(found)


def never_the_same(cls, root, source, *, strict):
    return Found(source, repr(np.random.default_rng().normal()), "made in a test")


DATASETS = {
    "check_metadata": [(a_dataset(__doc__=None), "no docstring")],
    "check_unknown_parameter_rejected": [(a_dataset(Parameters=type("P", (TinySet.Parameters,), {"model_config": Loose.model_config})), "keep extra='forbid'")],
    "check_loads": [
        (a_dataset(load=changed(class_names=lambda data: ("only",))), "classes = 2, but there are ('only',)"),
        (a_dataset(load=changed(validation=lambda data: data.test)), "ids that another split has"),
        (a_dataset(load=before_load(lambda: 1 / 0)), "ZeroDivisionError"),
    ],
    "check_same_content_same_arrays": [
        (a_dataset(load=changed(test=redrawn)), "two calls of load() return different arrays"),
        (a_dataset(find=classmethod(never_the_same)), "the same data hash as"),
    ],
    "check_global_state_left_as_found": [(a_dataset(load=before_load(np.random.rand)), "random state of numpy")],
    "check_evidence_and_test_split_guarded": [
        (a_dataset(load=changed(evidence=lambda data: Open()), evidence=ONLY_BOXES), "evidence.boxes can be read while a method runs"),
    ],
    "check_ledger_equals_calls": [
        (a_dataset(load=changed(evidence=lambda data: Secret())), "can answer 'relevant_mask', but relevant_masks is not overridden"),
        (a_dataset(load=changed(evidence=lambda data: Secret()), evidence=ONLY_BOXES), "a box is empty"),
    ],
    "check_pickles_nothing": [(a_dataset(load=before_load(lambda: dumps(1))), "it pickles in")],
    "check_empty_group": [(a_dataset(load=of_case("empty group")), "group 'lying, blue' has no test examples")],
    "check_single_class": [(a_dataset(load=of_case("single class")), "class 'standing' has no training examples")],
    "check_unable_gives_reason": [(a_dataset(evidence={**TinySet.evidence, FeedbackKind.BOX: "two\nlines"}), "a reason in one line")],
    "check_protocols_are_valid": [
        (a_dataset(name="mine"), "is for dataset 'tiny'"),
    ],
}  # fmt: skip


def a_metric(compute, **attributes):
    body = {"__doc__": "Made for a test.", "name": "mine", "short": "M", "summary": "for a test", "compute": compute}
    return type("Mine", (Metric,), {**body, **attributes})


def share(predictions):
    return 100.0 * float((predictions.labels == predictions.predicted).sum()) / max(1, len(predictions.labels))


def and_then(do):
    def compute(self, predictions):
        do(predictions)
        return share(predictions)

    return compute


def raise_if(condition):
    def check(predictions):
        if condition(predictions):
            raise ZeroDivisionError("no examples")

    return and_then(check)


METRICS = {
    "check_metadata": [(a_metric(lambda self, p: share(p), short=""), "'short' must be a text")],
    "check_computes": [(a_metric(lambda self, p: float("nan")), "no finite number")],
    "check_same_predictions_same_value": [(a_metric(lambda self, p: share(p) + np.random.default_rng().random() * 1e-6), "have the values")],
    "check_global_state_left_as_found": [(a_metric(and_then(lambda p: random.random())), "random state of Python")],
    "check_predictions_untouched": [(a_metric(and_then(lambda p: p.groups.sort())), "it changed predictions.groups")],
    "check_direction": [(a_metric(lambda self, p: 100 - share(p)), "'higher' is better, but all right gives 0 and all wrong 100")],
    "check_pickles_nothing": [(a_metric(and_then(lambda p: dumps(1))), "it pickles in")],
    "check_empty_group": [(a_metric(raise_if(lambda p: len(np.unique(p.groups)) == 3)), "where a group is empty it raises")],
    "check_single_class": [(a_metric(raise_if(lambda p: len(np.unique(p.groups)) == 2)), "with one class alone it raises")],
    "check_batch_of_one": [
        (a_metric(raise_if(lambda p: len(p.labels) == 1)), "with one example it raises"),
        (a_metric(lambda self, p: 100 * float(np.mean(p.labels == p.predicted))), "without examples it gives nan"),
    ],
}  # fmt: skip

BAD = {Kind.METHOD: METHODS, Kind.ORACLE: ORACLES, Kind.DATASET: DATASETS, Kind.METRIC: METRICS}
CASES = [
    pytest.param(plugin, check, words, id=f"{kind.value}-{check}-{number}")
    for kind, table in BAD.items()
    for check, cases in table.items()
    for number, (plugin, words) in enumerate(cases)
]


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value encountered")
@pytest.mark.parametrize(("plugin", "check", "words"), CASES)
def test_a_bad_plugin_is_caught_by_the_check_for_it_and_by_no_other(plugin, check, words, monkeypatch):
    monkeypatch.setenv("KIT_OF_TESTS", "")
    failed = {outcome.check: outcome.reason for outcome in run_checks(plugin) if outcome.state == "FAILED"}
    assert list(failed) == [check], failed
    assert words in failed[check]


@pytest.mark.parametrize("kind", BAD)
def test_every_check_has_a_bad_plugin(kind):
    good = {
        Kind.METHOD: a_method(),
        Kind.ORACLE: TinyOracle,
        Kind.DATASET: TinySet,
        Kind.METRIC: a_metric(lambda self, p: share(p)),
    }
    assert set(BAD[kind]) == {check.__name__ for check in checks_for(good[kind])}


@pytest.mark.parametrize("plugin", [Good, TinyOracle, TinySet])
def test_what_takes_too_long_is_caught(plugin, monkeypatch):
    monkeypatch.setattr(common, "SECONDS", 0.0)
    failed = [outcome for outcome in run_checks(plugin) if outcome.state == "FAILED"]
    assert [outcome.check for outcome in failed] == [
        {"good": "check_fits_tiny_set", "tiny": "check_loads"}[plugin.name]
        if plugin is not TinyOracle
        else "check_answers_tiny_set"
    ]
    assert "more than 0.0 s" in failed[0].reason


def test_a_method_that_only_waits_is_caught(monkeypatch):
    class Waits(Good):
        """Waits."""

        name = "waits"

        def refine(self, job):
            time.sleep(60)

    monkeypatch.setattr(common, "CLOCK", 0.5)
    failed = [outcome for outcome in run_checks(Waits) if outcome.state == "FAILED"]
    assert [outcome.check for outcome in failed] == ["check_fits_tiny_set"]
    assert "time limit: it took longer than 0.5 s" in failed[0].reason


def test_a_method_that_fails_is_said_to_fail_once(cli, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(method_source("mine", "raise ValueError('because')"))
    result = cli("plugins", "check", "mine", "--plugin", file, "--verbose")
    assert result.code == 1
    lines = [line for line in result.out.splitlines() if "FAILED" in line]
    assert lines == [lines[0], lines[1], "13 checks: 2 ok, 2 FAILED, 9 skipped"]
    assert "no docstring" in lines[0]
    assert lines[1] == "  FAILED  check_fits_tiny_set: it failed with the mlp: ValueError: because"
    assert "raise ValueError('because')" in result.out  # the traceback, which --verbose shows
    assert "see check_fits_tiny_set (ValueError: because)" in result.out
    assert "Traceback" not in cli("plugins", "check", "mine", "--plugin", file).out


def test_plugins_check_prints_a_line_per_check(cli):
    result = cli("plugins", "check", "rrr")
    assert result.code == 0
    head, *lines, total = result.out.splitlines()
    names = [check.__name__ for check in checks_for(Registry().load(Kind.METHOD, "rrr"))]
    assert lines == [f"  ok      {name}" for name in names]
    assert head == "method rrr (crayon_bench_plugins.methods.rrr:RRR)"
    assert total == f"{len(names)} checks: {len(names)} ok"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rrrr"], "did you mean 'rrr'?"),
        (["serial"], "there are no checks for executors"),
        (
            ["mine", "--plugin", "broken.py"],
            "--plugin broken.py cannot be loaded: ZeroDivisionError: division by zero (line 1)",
        ),
        (["mine", "--plugin", "nowhere.py"], "there is no such file"),
        ([], "Missing argument"),
    ],
)
def test_plugins_check_of_what_cannot_be_checked(cli, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("1 / 0")
    result = cli("plugins", "check", *arguments)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_ids_and_expected_failures(tmp_path):
    """As an author sees it: pytest in a folder of its own."""
    (tmp_path / "mine.py").write_text(method_source("mine", "return job.fit()") + "\n\nMine.__doc__ = None\n")
    (tmp_path / "test_mine.py").write_text(
        "from mine import Mine\nfrom crayon_bench.testing import parametrize_with_checks\n"
        "@parametrize_with_checks([Mine], expected_failed_checks={'check_metadata': 'it is a secret'})\n"
        "def test_mine(plugin, check):\n    check(plugin)\n"
    )
    tests = Command(["-v", "-rx", "-p", "no:cacheprovider", tmp_path], cwd=tmp_path, module="pytest")
    said, _ = tests.communicate()
    assert tests.returncode == 0, said
    assert "test_mine[Mine-check_same_seed_same_predictions] PASSED" in said
    assert "XFAIL test_mine.py::test_mine[Mine-check_metadata] - it is a secret" in said


def test_an_expected_failure_that_names_no_check_is_a_mistake():
    with pytest.raises(ValueError, match="did you mean 'check_metadata'"):
        parametrize_with_checks([Good], expected_failed_checks={"check_metdata": "why"})
    marked = parametrize_with_checks(
        [Good, TinySet], expected_failed_checks=lambda p: {"check_loads": "why"} if p is TinySet else {}
    )
    assert [p.id for p in marked.args[1] if p.marks] == ["TinySet-check_loads"]
    with pytest.raises(TypeError, match="is no plugin class"):
        parametrize_with_checks([Good()])


@pytest.mark.slow
def test_the_kit_needs_no_pytest():
    code = "import sys; import crayon_bench.testing; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_check_leaves_no_files(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert cli("plugins", "check", "train-more").code == 0
    assert not list(tmp_path.iterdir())
