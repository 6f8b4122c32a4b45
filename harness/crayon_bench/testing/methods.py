"""Checks of methods."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from crayon_bench import FeedbackKind, Job, Method, Setting, Status
from crayon_bench.plugins.registry import guarded
from crayon_bench.plugins.rows import PluginError
from crayon_bench.runs.foreseen import skip_of
from crayon_bench.runs.protocol import load_protocol
from crayon_bench.testing import common
from crayon_bench.testing.common import check_metadata, check_unknown_parameter_rejected, is_reason
from crayon_bench.testing.tiny import NETWORKS, Case, TinySet
from crayon_bench.testing.trial import (
    Trial,
    global_state_kept,
    networks_for,
    pickles_noted,
    plain_trial,
    try_method,
)


def check_fits_tiny_set(method: type[Method]) -> None:
    """On every network that it applies to, it returns a model with finite logits, within seconds."""
    networks = networks_for(method)
    if None not in networks.values():
        raise AssertionError(f"it applies to no network of the tiny set, where all can be asked: {networks}")
    for network in (name for name, reason in networks.items() if reason is None):
        start = time.process_time()
        _expect_ok(try_method(method, network=network), f"with the {network}")
        taken = time.process_time() - start
        assert taken < common.SECONDS, (
            f"with the {network} it took {taken:.1f} s of CPU time, more than {common.SECONDS} s"
        )


def check_same_seed_same_predictions(method: type[Method]) -> None:
    """Two runs with one seed give the same predictions, to the last bit."""
    first, second = plain_trial(method).require().predictions, try_method(method).require().predictions
    differ = sum(a != b for a, b in zip(first["confidence"], second["confidence"], strict=True))
    assert first == second, (
        f"two runs with seed 0 differ in {differ} of {len(first['confidence'])} predictions; take randomness from"
        " torch.Generator().manual_seed(job.seed('…')), and keep nothing in the class"
    )


def check_global_state_left_as_found(method: type[Method]) -> None:
    """``refine`` leaves random states, threads, dtype, grad mode, folder and environment as it found them."""
    changed: list[str] = []
    plain_trial(method)  # once before: what is imported on first use changes random states and the environment
    trial = try_method(method, around=lambda job: global_state_kept(changed))
    common.expect_unchanged(changed, "job.seed('…')")
    trial.require()


def check_pickles_nothing(method: type[Method]) -> None:
    """``refine`` neither writes nor reads pickles, which could execute anything when read."""
    where: list[str] = []
    trial = try_method(method, around=lambda job: pickles_noted(where))
    common.expect_no_pickles(where)
    trial.require()


def check_evidence_and_test_split_untouched(method: type[Method]) -> None:
    """Evidence, groups and splits are reached for through ``job.oracle`` alone, and the data stay as they are."""
    trial = plain_trial(method)
    assert not trial.refused, f"it reached for {common.listed(trial.refused)}, which the guards refused; ask job.oracle"
    assert not trial.reads, f"it read {common.listed(trial.reads)} behind the oracle's back; ask job.oracle"
    assert not trial.changed, "it changed the data set's own arrays, which all runs share"
    trial.require()


def check_ledger_equals_calls(method: type[Method]) -> None:
    """What the ledger counted is what the oracle answered, and of kinds that ``asks`` declares."""
    trial = plain_trial(method).require()
    counted = {FeedbackKind(kind): n for kind, n in trial.record.feedback.by_kind.items()}
    for kind, lent in trial.record.feedback.lent.items():
        counted[FeedbackKind(kind)] = counted.get(FeedbackKind(kind), 0) + lent
    for kind in FeedbackKind:
        given, seen = trial.answers[kind], counted.get(kind, 0)
        assert given == seen, f"the oracle answered {given} questions of the kind '{kind}', the ledger counted {seen}"


def check_original_model_untouched(method: type[Method]) -> None:
    """``job.original`` stays as it is: maps and features that other methods share are made from it."""
    changed: list[str] = []
    try_method(method, around=lambda job: _original_kept(job, changed)).require()
    assert not changed, f"it changed {', '.join(changed)} of job.original; job.model is the copy that may be changed"


def check_empty_group(method: type[Method]) -> None:
    """It works where a group has no training example."""
    _expect_ok_in(method, "empty group", "without training examples of one group")


def check_single_class(method: type[Method]) -> None:
    """It works where all training examples are of one class."""
    _expect_ok_in(method, "single class", "with training examples of one class alone")


def check_batch_of_one(method: type[Method]) -> None:
    """It works with one example in a batch."""
    plain_trial(method).require()
    _expect_ok(try_method(method, sets=["refine.batch=1"]), "with one example in a batch")


def check_skip_gives_reason(method: type[Method]) -> None:
    """``skip`` returns None or a reason in one line, and a reason where feedback or feature maps are missing."""
    for network in NETWORKS:
        folder = TinySet.protocols()
        assert folder is not None
        model = load_protocol(folder / f"{network}.toml").model
        for unable in ({}, {kind: f"nobody answers '{kind}' here" for kind in FeedbackKind}):
            where = f"with the {network} and {'no' if unable else 'all'} feedback"
            try:
                (reason,) = guarded(method, skip_of, method, Setting(TinySet, model, unable, method.Parameters()))
            except PluginError as error:
                raise AssertionError(f"skip() failed {where}: {error}") from error
            assert reason is None or is_reason(reason), f"skip() {where} gives no reason in one line, but {reason!r}"
            if method.needs_feature_maps and not model.has_feature_maps:
                assert reason, (
                    f"skip() gives no reason {where}, which has no feature maps; extend super().skip(setting)"
                )
            if unable and method.asks:
                assert reason, f"skip() gives no reason {where}, though it asks; extend super().skip(setting)"


def checks_of(method: type[Method]) -> list[Any]:
    """Return the checks that concern *method*."""
    return [
        check_metadata,
        check_unknown_parameter_rejected,
        check_fits_tiny_set,
        check_same_seed_same_predictions,
        check_global_state_left_as_found,
        check_evidence_and_test_split_untouched,
        check_ledger_equals_calls,
        check_original_model_untouched,
        check_pickles_nothing,
        check_empty_group,
        check_single_class,
        check_batch_of_one,
        check_skip_gives_reason,
    ]


@contextmanager
def _original_kept(job: Job, changed: list[str]) -> Iterator[None]:
    before = {name: value.clone() for name, value in job.original.state_dict().items()}
    yield
    after = job.original.state_dict()
    changed += [name for name, value in before.items() if name not in after or not torch.equal(value, after[name])]


def _expect_ok_in(method: type[Method], case: Case, where: str) -> None:
    plain_trial(method).require()
    _expect_ok(try_method(method, case=case), where)


def _expect_ok(trial: Trial, where: str) -> None:
    if trial.record.status is not Status.OK:
        failure = AssertionError(f"it failed {where}: {trial.record.reason}")
        failure.add_note(trial.log)
        raise failure
