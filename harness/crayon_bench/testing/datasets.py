"""Checks of data sets. They look at what is found without the network: the stand-in, or else real files."""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from crayon_bench import Dataset, FeedbackKind, Found, GuardError, LoadedData, Parameters, Source, Split, UserError
from crayon_bench.data.roots import default_root
from crayon_bench.guard import method_running
from crayon_bench.parameters import validated
from crayon_bench.runs.protocol import default_protocol, load_protocol
from crayon_bench.testing import common
from crayon_bench.testing.common import check_metadata, check_unknown_parameter_rejected, is_reason
from crayon_bench.testing.tiny import digest_of
from crayon_bench.testing.trial import CheckSkipped, global_state_kept, pickles_noted

_WHAT = {
    FeedbackKind.RELEVANT_MASK: "relevant_masks",
    FeedbackKind.IRRELEVANT_MASK: "irrelevant_masks",
    FeedbackKind.BOX: "boxes",
}


def find(dataset: type[Dataset]) -> Found:
    """Return the stand-in, or else real files. Raises CheckSkipped if there are neither."""
    try:
        return dataset.find(default_root(), Source.STANDIN, strict=False)
    except UserError as standin:
        try:
            return dataset.find(default_root(), Source.AUTO, strict=False)
        except UserError:
            raise CheckSkipped(f"there are no data to look at: {standin}") from None


def parameters(dataset: type[Dataset], found: Found) -> Parameters:
    """Return the parameters of a run without options: those of the default protocol, if there is one."""
    folder = dataset.protocols()
    file = None if folder is None else folder / f"{default_protocol(dataset, found)}.toml"
    table = dict(load_protocol(file).dataset_parameters) if file is not None and file.is_file() else {}
    return validated(dataset.Parameters, table, "dataset")


def load(dataset: type[Dataset]) -> LoadedData:
    """Find and load the data, as a run without options does."""
    found = find(dataset)
    return dataset(parameters(dataset, found)).load(found)


@dataclass(frozen=True)
class _Seen:
    """What was seen when the data were loaded twice; some draw their stand-in for seconds, so the checks share it."""

    data: LoadedData
    seconds: float
    same: bool
    changed: list[str]
    pickles: list[str]


@lru_cache(maxsize=1)
def _look(dataset: type[Dataset]) -> _Seen:
    changed: list[str] = []
    pickles: list[str] = []
    start = time.process_time()
    data = load(dataset)
    seconds = time.process_time() - start
    # The second time: what is imported on first use changes random states and the environment.
    with global_state_kept(changed), pickles_noted(pickles):
        again = load(dataset)
    return _Seen(data, seconds, digest_of(data) == digest_of(again), changed, pickles)


def _seen(dataset: type[Dataset]) -> _Seen:
    try:
        return _look(dataset)
    except CheckSkipped:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise CheckSkipped(f"it does not load, see check_loads ({what})") from error


def check_loads(dataset: type[Dataset]) -> None:
    """It loads, and classes, groups, shapes and names agree."""
    seen = _look(dataset)
    data = seen.data
    assert seen.seconds < common.SECONDS, f"it took {seen.seconds:.1f} s of CPU time, more than {common.SECONDS} s"
    expected = dataset.classes or len(data.class_names)
    assert len(data.class_names) == expected, f"classes = {dataset.classes}, but there are {data.class_names}"
    splits = {"train": data.train, "test": data.test, "validation": data.validation}
    ids: set[str] = set()
    default = parameters(dataset, find(dataset)) == dataset.Parameters()
    for name, split in splits.items():
        if split is None:
            continue
        assert len(split), f"the {name} split is empty"
        # Height and width may follow from parameters.
        wanted = dataset.image_shape if default else (dataset.image_shape[0], *split.images.shape[2:])
        shape = split.images.shape[1:]
        assert shape == wanted, f"images of the {name} split are {shape}, and image_shape says {dataset.image_shape}"
        _expect_below(split.labels, len(data.class_names), f"labels of the {name} split")
        groups = split.groups if split is data.test else split.groups[split.groups >= 0]  # −1: not known
        if len(groups):
            _expect_below(groups, max(1, len(data.group_names)), f"groups of the {name} split")
        if split is data.train and len(groups) < len(split):
            why = dataset.unable(FeedbackKind.GROUP) or find(dataset).unable.get(FeedbackKind.GROUP)
            assert why, "groups of the train split are not known, and neither evidence nor Found.unable says why"
        assert not ids & set(split.ids), f"examples of the {name} split have ids that another split has"
        ids |= set(split.ids)


def check_same_content_same_arrays(dataset: type[Dataset]) -> None:
    """Found twice, the content hash is the same, and so are the arrays, to the last bit."""
    seen = _seen(dataset)
    first, second = find(dataset), find(dataset)
    assert first.content, "Found.content is empty; it is the hash of the content"
    assert first.content == second.content, f"the same data hash as {first.content} and as {second.content}"
    assert seen.same, "two calls of load() return different arrays"


def check_global_state_left_as_found(dataset: type[Dataset]) -> None:
    """Random states, threads, dtype, grad mode, folder and environment stay as they are."""
    common.expect_unchanged(_seen(dataset).changed, "self.parameters.seed")


def check_pickles_nothing(dataset: type[Dataset]) -> None:
    """Nothing is pickled or unpickled."""
    common.expect_no_pickles(_seen(dataset).pickles)


def check_evidence_and_test_split_guarded(dataset: type[Dataset]) -> None:
    """While a method runs, evidence and splits refuse to be read."""
    data = _seen(dataset).data
    one = np.zeros(1, dtype=np.int64)
    with method_running():
        for name in (name for name in _WHAT.values() if data.evidence.has(name)):
            _expect_guarded(lambda name=name: getattr(data.evidence, name)(one), f"evidence.{name}")
        for name, split in (("train", data.train), ("test", data.test), ("validation", data.validation)):
            if split is not None:
                assert isinstance(split, Split), (
                    f"the {name} split is no crayon_bench.Split, but a {type(split).__name__}"
                )
                for attribute in ("images", "labels", "groups"):
                    _expect_guarded(lambda a=attribute, s=split: getattr(s, a), f"{attribute} of the {name} split")


def check_ledger_equals_calls(dataset: type[Dataset]) -> None:
    """Evidence that is declared gives one answer per question, in the images' shape, also to one and to none."""
    data = _seen(dataset).data
    height, width = data.train.images.shape[2:]
    for kind, name in _WHAT.items():
        if dataset.unable(kind) is not None:
            continue
        assert data.evidence.has(name), f"evidence says that it can answer '{kind}', but {name} is not overridden"
        for n in (min(20, len(data.train)), 1, 0):
            given = getattr(data.evidence, name)(np.arange(n, dtype=np.int64))
            found = f"{given.dtype} {given.shape}"
            wanted = f"int64 {(n, 4)}" if kind is FeedbackKind.BOX else f"bool {(n, height, width)}"
            assert found == wanted, f"{name} of {n} examples are {found}, not {wanted}"
            if kind is FeedbackKind.BOX and n:
                common.expect_boxes(given, height, width)


def check_empty_group(dataset: type[Dataset]) -> None:
    """Every group has test examples: without them worst-group accuracy is not defined."""
    data = _seen(dataset).data
    _expect_all_there(data.test.groups, data.group_names, "group", "test")


def check_single_class(dataset: type[Dataset]) -> None:
    """Every class has training and test examples."""
    data = _seen(dataset).data
    for name, split in (("training", data.train), ("test", data.test)):
        _expect_all_there(split.labels, data.class_names, "class", name)


def check_unable_gives_reason(dataset: type[Dataset]) -> None:
    """For every kind of feedback that ``evidence`` does not declare as answerable, there is a reason in one line."""
    for kind in FeedbackKind:
        reason = dataset.unable(kind)
        assert reason is None or is_reason(reason), f"evidence['{kind}'] must be '' or a reason in one line: {reason!r}"


def check_protocols_are_valid(dataset: type[Dataset]) -> None:
    """Every protocol that comes with it can be read, and is for it."""
    folder = dataset.protocols()
    if folder is None:
        raise CheckSkipped("it brings no protocols: every run needs --protocol FILE")
    for file in folder.iterdir():
        if file.name.endswith(".toml"):
            try:
                protocol = load_protocol(file)
            except UserError as error:
                raise AssertionError(str(error)) from None
            assert protocol.dataset == dataset.name, f"protocol {file.name} is for dataset '{protocol.dataset}'"
            assert f"{protocol.name}.toml" == file.name, f"protocol {file.name} says name = '{protocol.name}'"


def checks_of(dataset: type[Dataset]) -> list[Any]:
    """Return the checks that concern *dataset*."""
    return [
        check_metadata,
        check_unknown_parameter_rejected,
        check_loads,
        check_same_content_same_arrays,
        check_global_state_left_as_found,
        check_evidence_and_test_split_guarded,
        check_ledger_equals_calls,
        check_pickles_nothing,
        check_empty_group,
        check_single_class,
        check_unable_gives_reason,
        check_protocols_are_valid,
    ]


def _expect_below(values: Any, end: int, what: str) -> None:
    good = len(values) and 0 <= values.min() <= values.max() < end
    assert good, f"{what} are {values.min()} to {values.max()}, not 0 to {end - 1}"


def _expect_all_there(values: Any, names: tuple[str, ...], what: str, split: str) -> None:
    missing = [name for name, n in zip(names, np.bincount(values, minlength=len(names)), strict=False) if n == 0]
    assert not missing, f"{what} '{missing[0] if missing else ''}' has no {split} examples"


def _expect_guarded(read: Any, what: str) -> None:
    try:
        read()
    except GuardError:
        return
    raise AssertionError(f"{what} can be read while a method runs; subclass crayon_bench.Evidence and override")
