"""Checks of oracles."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from crayon_bench import (
    FeedbackKind,
    FeedbackOracle,
    LoadedData,
    MeteredOracle,
    Patches,
    Situation,
    Verdict,
    Verdicts,
    derive_seed,
)
from crayon_bench.ledger.metered import Receipt, close_ledger, open_ledger
from crayon_bench.testing import common
from crayon_bench.testing.common import check_metadata, check_unknown_parameter_rejected, is_reason
from crayon_bench.testing.tiny import SIZE, Case, TinyParameters, TinySet, digest_of
from crayon_bench.testing.trial import CheckSkipped, global_state_kept, pickles_noted

FOUND = TinySet.find(None, None, strict=True)  # type: ignore[arg-type]


def load_tiny(case: Case = "plain") -> LoadedData:
    """Return the tiny set."""
    return TinySet(TinyParameters(case=case)).load(FOUND)


def able(oracle: FeedbackOracle) -> list[FeedbackKind]:
    """Return the kinds of questions that *oracle* says it can answer about the tiny set."""
    return [kind for kind in FeedbackKind if oracle.unable(kind, TinySet, FOUND) is None]


def ask(
    oracle: type[FeedbackOracle], data: LoadedData, examples: Sequence[int] | None = None
) -> tuple[dict[FeedbackKind, Any], Receipt]:
    """Ask an instance of *oracle* everything that it can answer about *examples*, and close its ledger.

    Raises CheckSkipped for one that answers from recorded answers.
    """
    if oracle.reads_answers:
        raise CheckSkipped("it answers from recorded answers, and nobody has answered about the tiny set")
    chosen = np.arange(len(data.train)) if examples is None else np.asarray(examples, dtype=np.int64)
    answerer = oracle(oracle.Parameters(), seed=derive_seed(0, "feedback"))
    answerer.situation = Situation(
        ids=data.train.ids,
        labels=data.train.labels,
        class_names=data.class_names,
        dataset={"name": TinySet.name, "content": FOUND.content},
        model="0" * 64,
        image_size=(SIZE, SIZE),
    )
    kinds = able(answerer)
    ledger = open_ledger(
        answerer,
        data.evidence,
        groups=lambda wanted: data.train.groups[wanted],
        asks=frozenset(kinds),
        size=len(data.train),
    )
    try:
        answers = {kind: _question(ledger, kind, chosen) for kind in kinds}
    finally:
        receipt = close_ledger(ledger)
    return answers, receipt


def _question(ledger: MeteredOracle, kind: FeedbackKind, examples: Any) -> Any:
    if kind is FeedbackKind.MAP_VERDICT:
        return ledger.judge_maps(examples, _maps(len(examples)))
    if kind is FeedbackKind.NEURON_VERDICT:
        return ledger.judge_neurons(_patches(examples))
    ask_for = {
        FeedbackKind.RELEVANT_MASK: ledger.relevant_masks,
        FeedbackKind.IRRELEVANT_MASK: ledger.irrelevant_masks,
        FeedbackKind.BOX: ledger.boxes,
        FeedbackKind.GROUP: ledger.groups,
    }
    return ask_for[kind](examples)


def _maps(n: int) -> Any:
    """Return n maps that look at the corner, at the middle, at nothing, and everywhere, in turn."""
    maps = np.random.RandomState(0).uniform(0, 1, (n, 8, 8)).astype(np.float32)
    maps[0::4, 2:] = 0
    maps[1::4, :, :2] = 0
    maps[2::4] = 0
    return maps


def _patches(examples: Any) -> Patches:
    """Return one neuron per example, with a patch there and no second one."""
    n = len(examples)
    places = np.random.RandomState(0).randint(0, SIZE - 12, (n, 2, 2))
    boxes = np.concatenate([places, places + 12], axis=-1).astype(np.int64)
    both = np.stack([examples, np.full(n, -1)], axis=1).astype(np.int64)
    return Patches(np.arange(n), both, boxes)


def _asked(oracle: type[FeedbackOracle], case: Case = "plain") -> tuple[dict[FeedbackKind, Any], Receipt]:
    try:
        return ask(oracle, load_tiny(case))
    except CheckSkipped:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise CheckSkipped(f"it does not answer, see check_answers_tiny_set ({what})") from error


def check_answers_tiny_set(oracle: type[FeedbackOracle]) -> None:
    """It answers what it says it can, in the right shapes, within seconds."""
    data = load_tiny()
    start = time.process_time()
    answers, _ = _expect_answers(oracle, data, None, "about the tiny set")
    taken = time.process_time() - start
    assert answers, "it can answer no kind of question about the tiny set, where evidence of all kinds is there"
    assert taken < common.SECONDS, f"it took {taken:.1f} s of CPU time, more than {common.SECONDS} s"
    shapes = {
        FeedbackKind.RELEVANT_MASK: ((SIZE, SIZE), np.bool_),
        FeedbackKind.IRRELEVANT_MASK: ((SIZE, SIZE), np.bool_),
        FeedbackKind.BOX: ((4,), np.int64),
        FeedbackKind.GROUP: ((), np.int64),
    }
    for kind, (shape, dtype) in shapes.items():
        if kind in answers:
            values = answers[kind].values
            wanted = f"{np.dtype(dtype).name} {(len(data.train), *shape)}"
            found = f"{values.dtype} {values.shape}"
            assert found == wanted, f"answers of the kind '{kind}' are {found}, not {wanted}"
    if (boxes := answers.get(FeedbackKind.BOX)) is not None:
        common.expect_boxes(boxes.values[boxes.answered], SIZE, SIZE)


def check_same_seed_same_answers(oracle: type[FeedbackOracle]) -> None:
    """Two oracles with one seed answer alike."""
    (first, _), (second, _) = _asked(oracle), _asked(oracle)
    for kind in first:
        same = np.array_equal(first[kind].values, second[kind].values)
        assert same, f"with one seed, answers of the kind '{kind}' differ; take randomness from self.seed"


def check_global_state_left_as_found(oracle: type[FeedbackOracle]) -> None:
    """Random states, threads, dtype, grad mode, folder and environment stay as they are."""
    changed: list[str] = []
    _asked(oracle)
    with global_state_kept(changed):
        _asked(oracle)
    common.expect_unchanged(changed, "self.seed")


def check_pickles_nothing(oracle: type[FeedbackOracle]) -> None:
    """Nothing is pickled or unpickled."""
    where: list[str] = []
    with pickles_noted(where):
        _asked(oracle)
    common.expect_no_pickles(where)


def check_evidence_untouched(oracle: type[FeedbackOracle]) -> None:
    """The evidence stays as it is: later answers come from it."""
    data = load_tiny()
    _asked(oracle)
    before = digest_of(data)
    ask(oracle, data)
    assert digest_of(data) == before, "it wrote into the evidence or the data; copy before you change"


def check_ledger_equals_calls(oracle: type[FeedbackOracle]) -> None:
    """Whatever is answered is counted, and of every kind that it can answer, something is."""
    answers, receipt = _asked(oracle)
    for kind, answer in answers.items():
        counted, given = receipt.by_kind[kind], int(np.sum(answer.answered))
        if isinstance(answer, Verdicts):
            given = int((answer.values != Verdict.UNASKED).sum())
        assert given == counted, f"it gave {given} answers of the kind '{kind}', of which {counted} were counted"
        assert given, f"unable('{kind}', …) gives no reason, but no question was answered"


def check_empty_group(oracle: type[FeedbackOracle]) -> None:
    """It answers where a group has no example."""
    _asked(oracle)
    _expect_answers(oracle, load_tiny("empty group"), None, "where a group is empty")


def check_single_class(oracle: type[FeedbackOracle]) -> None:
    """It answers where all examples are of one class."""
    _asked(oracle)
    _expect_answers(oracle, load_tiny("single class"), None, "with one class alone")


def check_batch_of_one(oracle: type[FeedbackOracle]) -> None:
    """It answers one question, and none."""
    _asked(oracle)
    _expect_answers(oracle, load_tiny(), [3], "to one question")
    _expect_answers(oracle, load_tiny(), [], "to no question")


def check_unable_gives_reason(oracle: type[FeedbackOracle]) -> None:
    """``unable`` returns None or a reason in one line, for every kind of question."""
    answerer = oracle(oracle.Parameters(), seed=0)
    for kind in FeedbackKind:
        reason = answerer.unable(kind, TinySet, FOUND)
        good = reason is None or is_reason(reason)
        assert good, f"unable('{kind}', …) must be None or a reason in one line, not {reason!r}"


def _expect_answers(
    oracle: type[FeedbackOracle], data: LoadedData, examples: Sequence[int] | None, where: str
) -> tuple[dict[FeedbackKind, Any], Receipt]:
    try:
        return ask(oracle, data, examples)
    except CheckSkipped:
        raise
    except Exception as error:
        raise AssertionError(f"it failed {where}: {type(error).__name__}: {error}") from error


def checks_of(oracle: type[FeedbackOracle]) -> list[Any]:
    """Return the checks that concern *oracle*."""
    return [
        check_metadata,
        check_unknown_parameter_rejected,
        check_answers_tiny_set,
        check_same_seed_same_answers,
        check_global_state_left_as_found,
        check_evidence_untouched,
        check_ledger_equals_calls,
        check_pickles_nothing,
        check_empty_group,
        check_single_class,
        check_batch_of_one,
        check_unable_gives_reason,
    ]
