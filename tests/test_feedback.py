"""The ledger counts, and evidence cannot be reached without it."""

import json

import numpy as np
import pytest

from conftest import TINY
from crayon_bench.dataset import Dataset, Evidence, Source
from crayon_bench.errors import GuardError
from crayon_bench.feedback import FeedbackKind, Verdict, feedback_label
from crayon_bench.guard import answering, method_running
from crayon_bench.ledger.metered import close_ledger, open_ledger
from crayon_bench.oracle import FeedbackOracle, Groups, Masks, Patches, Verdicts
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench_plugins.datasets.decoymnist import DecoyMNIST
from crayon_bench_plugins.oracles.simulated import SimulatedOracle
from helpers import method


class Truth(Evidence):
    def irrelevant_masks(self, examples):
        mask = np.zeros((len(examples), 4, 4), bool)
        mask[:, 0, 0] = True
        return mask

    def boxes(self, examples):
        return np.tile([1, 1, 3, 3], (len(examples), 1))


def ledger(oracle=None, asks=tuple(FeedbackKind), size=10):
    oracle = oracle or SimulatedOracle(SimulatedOracle.Parameters(), seed=0)
    return open_ledger(oracle, Truth(), groups=lambda e: e % 2, asks=frozenset(asks), size=size)


def test_the_ledger_counts_answers_by_kind():
    book = ledger()
    book.judge_maps(np.arange(5), np.ones((5, 4, 4)))
    book.judge_maps(np.arange(3), np.ones((3, 4, 4)))
    book.irrelevant_masks([1, 2])
    book.boxes(np.arange(4))
    book.groups([7])
    receipt = close_ledger(book)
    assert receipt.by_kind == {"map_verdict": 8, "irrelevant_mask": 2, "box": 4, "group": 1}
    assert receipt.total == 15
    assert receipt.verdicts["map_verdict"] == {"yes": 0, "no": 0, "maybe": 8}


def test_unanswered_questions_are_not_counted():
    class Shy(FeedbackOracle):
        name, title, summary = "shy", "shy", "answers every other question"

        def judge_maps(self, examples, maps, evidence):
            return Verdicts(np.where(examples % 2, Verdict.UNASKED, Verdict.YES).astype(np.int8))

        def irrelevant_masks(self, examples, evidence):
            return Masks(evidence.irrelevant_masks(examples), examples % 2 == 0)

    book = ledger(Shy(FeedbackOracle.Parameters(), seed=0))
    book.judge_maps(np.arange(10), np.ones((10, 4, 4)))
    book.irrelevant_masks(np.arange(10))
    receipt = close_ledger(book)
    assert receipt.by_kind == {"map_verdict": 5, "irrelevant_mask": 5}
    assert receipt.verdicts["map_verdict"]["yes"] == 5


def test_what_was_not_answered_is_not_seen():
    class Half(FeedbackOracle):
        name, title, summary = "half", "half", "answers every other question but shows all"

        def judge_maps(self, examples, maps, evidence):
            return Verdicts(np.full(len(examples), 7, np.int8))

        def irrelevant_masks(self, examples, evidence):
            return Masks(evidence.irrelevant_masks(examples), examples % 2 == 0)

        def groups(self, examples, truth):
            return Groups(truth, examples % 2 == 0)

    book = ledger(Half(FeedbackOracle.Parameters(), seed=0))
    assert book.irrelevant_masks([0, 1]).values.sum(axis=(1, 2)).tolist() == [1, 0]
    assert book.groups([0, 1, 3]).values.tolist() == [0, -1, -1]
    with pytest.raises(ValueError, match="a verdict that there is not"):
        book.judge_maps([0], np.ones((1, 4, 4)))
    assert close_ledger(book).by_kind == {"irrelevant_mask": 1, "group": 1}


def test_the_gate_opens_for_the_thread_that_answers_alone():
    import threading

    seen = []

    def read():
        try:
            seen.append(Truth().boxes(np.arange(1)))
        except GuardError as error:
            seen.append(error)

    with method_running(), answering():
        assert len(Truth().boxes(np.arange(1))) == 1
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert isinstance(seen[0], GuardError)


def test_a_kind_that_is_not_declared_is_refused():
    book = ledger(asks=[FeedbackKind.BOX])
    book.boxes([0])
    with pytest.raises(GuardError, match="'irrelevant_mask'"):
        book.irrelevant_masks([0])
    assert close_ledger(book).by_kind == {"box": 1}


def test_a_closed_ledger_answers_nothing():
    book = ledger()
    close_ledger(book)
    with pytest.raises(GuardError, match="closed"):
        book.boxes([0])


@pytest.mark.parametrize(
    ("examples", "maps"),
    [([0, 10], np.ones((2, 4, 4))), ([-1], np.ones((1, 4, 4))), ([0], np.ones((2, 4, 4))), ([0], np.ones((1, 16)))]
    + [([0], np.full((1, 4, 4), value)) for value in (np.nan, np.inf, -1.0)],
)
def test_questions_about_what_is_not_there_are_refused_and_not_counted(examples, maps):
    book = ledger()
    with pytest.raises(ValueError, match=r"examples must be|judge_maps wants"):
        book.judge_maps(examples, maps)
    assert close_ledger(book).total == 0


def test_the_rule_of_the_simulated_oracle_on_random_maps():
    random = np.random.RandomState(0)
    maps = random.rand(200, 4, 4) ** 4
    maps[0] = 0
    expected = [Verdict.NO if m[0, 0] > 0.2 * m.sum() else Verdict.MAYBE for m in maps.astype(np.float32)]
    expected[0] = Verdict.MAYBE
    book = ledger(size=200)
    assert book.judge_maps(np.arange(200), maps).values.tolist() == expected
    tally = close_ledger(book).verdicts["map_verdict"]
    assert 0 < tally["no"] < 200
    assert tally["yes"] == 0


class Left(Evidence):
    """The left half of each image is relevant; of image 3 nothing is."""

    def relevant_masks(self, examples):
        mask = np.zeros((len(examples), 8, 8), bool)
        mask[:, :, :4] = True
        mask[np.asarray(examples) == 3] = False
        return mask

    def irrelevant_masks(self, examples):
        return ~self.relevant_masks(examples)


def simulated(**parameters):
    """The ledger of the built-in oracle, found as a third party's would be."""
    cls = Registry().load(Kind.ORACLE, "simulated")
    oracle = cls(cls.Parameters(**parameters), seed=0)
    return open_ledger(oracle, Left(), groups=lambda e: e % 2, asks=frozenset(FeedbackKind), size=30)


def patches_of(*neurons: str, example: int = 0) -> Patches:
    """Neurons of a letter per patch: y shows what is relevant, n does not, a dot is no patch."""
    box = {"y": [2, 2, 6, 6], "n": [2, 4, 6, 8], ".": [0, 0, 0, 0]}
    return Patches(
        neurons=np.arange(len(neurons)),
        examples=np.array([[-1 if patch == "." else example for patch in neuron] for neuron in neurons]),
        boxes=np.array([[box[patch] for patch in neuron] for neuron in neurons]),
    )


NEURONS = {
    # allowed misses, of ten patches → neurons that are relevant, and neurons that are not
    0: (["yyyyyyyyyy", "yyy.......", "y........."], ["yyyyyyyyyn", "yyn.......", "n.........", ".........."]),
    1: (["yyyyyyyyyn"], ["yyyyyyyynn", "yyyyyyyyn.", "yn........", "n........."]),
    5: (
        ["yyyyynnnnn", "yyyynnnn..", "yynn......", "yn........", "y........."],
        ["yyyynnnnnn", "yyynnnn...", "ynnn......", "ynn.......", "nnnnn.....", "n........."],
    ),
    10: (["ynnnnnnnnn", "yn........"], ["nnnnnnnnnn", "nn........", "n.........", ".........."]),
    1000: (["ynnnnnnnnn"], ["nnnnnnnnnn", "n........."]),
}


@pytest.mark.parametrize("misses", NEURONS)
def test_a_neuron_may_miss_in_proportion_to_its_patches_and_must_show_something(misses):
    yes, no = NEURONS[misses]
    book = simulated(patch_misses=misses)
    assert book.judge_neurons(patches_of(*yes, *no)).values.tolist() == [Verdict.YES] * len(yes) + [Verdict.NO] * len(
        no
    )
    assert close_ledger(book).verdicts["neuron_verdict"] == {"yes": len(yes), "no": len(no), "maybe": 0}


def test_a_map_is_judged_by_the_share_of_its_total_on_relevant_pixels():
    """Yes above one cut-off, no below the other, maybe on them and between, at the image's size and on a grid."""
    book = simulated(yes_above=0.5, no_below=0.25)
    for size in (8, 4):
        maps = np.zeros((5, size, size), np.float32)
        for one, share in zip(maps, (0.625, 0.5, 0.375, 0.25, 0.125), strict=True):
            one[1, 1], one[1, size - 1] = 8 * share, 8 * (1 - share)  # of any height
        answers = [Verdict.YES, Verdict.MAYBE, Verdict.MAYBE, Verdict.MAYBE, Verdict.NO]
        assert book.judge_maps(np.arange(5) + 4, maps).values.tolist() == answers


def test_a_patch_shows_what_is_relevant_if_it_holds_more_than_a_share_of_it():
    patches = patches_of("y")  # 8 of 32 relevant pixels
    for share, verdict in ((0.0, Verdict.YES), (0.24, Verdict.YES), (0.25, Verdict.NO)):
        assert simulated(patch_share=share).judge_neurons(patches).values.tolist() == [verdict]


def test_an_image_of_which_nothing_is_relevant():
    """Its maps are judged no and its patches show nothing; a dead map stays maybe, and an empty mask is an answer."""
    book = simulated()
    maps = np.ones((3, 4, 4), np.float32)
    maps[2] = 0
    assert book.judge_maps([0, 3, 3], maps).values.tolist() == [Verdict.MAYBE, Verdict.NO, Verdict.MAYBE]
    assert simulated(yes_above=0.0, no_below=0.0).judge_maps([3], maps[:1]).values.tolist() == [Verdict.MAYBE]
    for misses in (0, 1000):
        everything = Patches(np.arange(1), np.array([[3, 3]]), np.array([[[0, 0, 8, 8]] * 2]))
        assert simulated(patch_misses=misses).judge_neurons(everything).values.tolist() == [Verdict.NO]
    masks = book.relevant_masks([0, 3])
    assert masks.values.sum((1, 2)).tolist() == [32, 0]
    assert masks.answered.all()
    assert book.irrelevant_masks([3]).values.all()
    assert close_ledger(book).by_kind == {"map_verdict": 3, "relevant_mask": 2, "irrelevant_mask": 1}


def test_feedback_column():
    assert feedback_label([FeedbackKind.MAP_VERDICT, FeedbackKind.RELEVANT_MASK]) == "Yes-No, Map"
    assert feedback_label([FeedbackKind.RELEVANT_MASK, FeedbackKind.IRRELEVANT_MASK]) == "Map"
    assert feedback_label([]) == "None"


# ---------------------------------------------------------------------------------------------------------------------
# a method that cheats

WALK = """
import builtins, gc, types
import numpy as np, torch
seen, queue, found = set(), [job], []
while queue:
    thing = queue.pop()
    if id(thing) in seen or isinstance(thing, (types.ModuleType, type)):
        continue
    seen.add(id(thing))
    name = type(thing).__module__ + "." + type(thing).__name__
    if isinstance(thing, (np.ndarray, torch.Tensor)):
        array = thing.detach().cpu().numpy() if isinstance(thing, torch.Tensor) else thing
        found += [what for what, secret in builtins.secrets.items() if array.shape == secret.shape and (array == secret).all()]
    if name.startswith(("crayon_bench.dataset", "crayon_bench_plugins.datasets", "crayon_bench_plugins.oracles")):
        found.append(name)
    if isinstance(thing, types.FunctionType):
        queue += [cell.cell_contents for cell in thing.__closure__ or ()] + list(thing.__defaults__ or ())
    else:
        queue += gc.get_referents(thing)
assert len(seen) > 50, "the walk saw nothing"
assert not found, f"reached {found}"
return job.model
"""

CHEATS = {
    "loads the data itself": """
from pathlib import Path
from crayon_bench import Source
from crayon_bench_plugins.datasets.decoymnist import DecoyMNIST
found = DecoyMNIST.find(Path("."), Source.STANDIN, strict=False)
data = DecoyMNIST(DecoyMNIST.Parameters()).load(found)
return job.model
""",
    "makes the evidence itself": """
import numpy as np
from crayon_bench_plugins.datasets.decoymnist import DecoyEvidence
DecoyEvidence().irrelevant_masks(np.arange(3))
return job.model
""",
    "takes the evidence from the runner's frame": """
import sys
frame = sys._getframe()
while "prepared" not in frame.f_locals:
    frame = frame.f_back
frame.f_locals["prepared"].data.evidence.boxes(__import__("numpy").arange(3))
return job.model
""",
    "takes the groups from the runner's frame": """
import sys
frame = sys._getframe()
while "prepared" not in frame.f_locals:
    frame = frame.f_back
frame.f_locals["prepared"].data.train.groups
return job.model
""",
    "takes the test labels from the runner's frame": """
import sys
frame = sys._getframe()
while "prepared" not in frame.f_locals:
    frame = frame.f_back
frame.f_locals["prepared"].data.test.labels
return job.model
""",
    "reads evidence in a thread": """
import threading
import numpy as np
from crayon_bench_plugins.datasets.decoymnist import DecoyEvidence
errors = []
def work():
    try:
        DecoyEvidence().boxes(np.arange(3))
    except BaseException as error:
        errors.append(error)
thread = threading.Thread(target=work)
thread.start()
thread.join()
if errors:
    raise errors[0]
return job.model
""",
    "returns a model that reads the test labels": """
class Oracle(torch.nn.Module):
    def forward(self, images):
        import sys
        frame = sys._getframe()
        while "data" not in frame.f_locals:
            frame = frame.f_back
        return torch.nn.functional.one_hot(torch.from_numpy(frame.f_locals["data"].test.labels), 10).float()
return Oracle()
""",
    "asks for what it does not declare": """
job.oracle.groups([0, 1, 2])
return job.model
""",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_method_that_cheats_fails_and_says_why(cli, tmp_path, cheat):
    file = tmp_path / "cheat.py"
    file.write_text(method("cheat", CHEATS[cheat]))
    result = cli("run", "--dataset", "decoymnist", "--methods", "cheat", "--seeds", "1", "--plugin", file, *TINY)
    assert result.code == 1
    assert "GuardError" in result.err
    assert "job.oracle" in result.err or "asks" in result.err
    records = json.loads(cli("runs", "list", "--format", "json").out)
    assert [r["status"] for r in records] == ["failed"]


def test_nothing_that_a_method_is_handed_leads_to_evidence(cli, tmp_path, monkeypatch):
    import builtins

    file = tmp_path / "walker.py"
    file.write_text(method("walker", WALK))
    sets = ["--set", "dataset.validation=100", "--set", "protocol.selection=val_accuracy"]
    for held, extra in ((0, []), (100, sets)):
        found = DecoyMNIST.find(tmp_path, Source.STANDIN, strict=True)
        data = DecoyMNIST(DecoyMNIST.Parameters(validation=held)).load(found)
        secrets = {
            f"{name} {what}": getattr(split, what)
            for name, split in (("train", data.train), ("test", data.test), ("validation", data.validation))
            for what in ("images", "labels", "groups")
            if split is not None and (name, what) not in (("train", "images"), ("train", "labels"))
        }
        assert len(secrets) == (7 if held else 4)
        monkeypatch.setattr(builtins, "secrets", secrets, raising=False)
        result = cli(
            "run", "--dataset", "decoymnist", "--methods", "walker", "--seeds", "1", "--plugin", file, *TINY, *extra
        )
        assert result.code == 0, result.err


def test_a_method_that_asks_is_counted(cli, tmp_path):
    file = tmp_path / "honest.py"
    body = "job.oracle.boxes(range(7))\njob.oracle.groups([1, 2])\nreturn job.model"
    extra = "asks = (FeedbackKind.BOX, FeedbackKind.GROUP)"
    file.write_text(method("honest", body, extra=extra))
    cli("run", "--dataset", "decoymnist", "--methods", "honest", "--seeds", "1", "--plugin", file, *TINY)
    (row,) = [r for r in json.loads(cli("leaderboard", "--format", "json").out)["rows"] if r["method"] == "honest"]
    assert row["feedback_count"] == {"total": 9, "by_kind": {"box": 7, "group": 2}}
    assert row["feedback"] == "Bounding box, Group label"


def test_the_fence_opens_again_after_the_run():
    with method_running(), pytest.raises(GuardError):
        Truth().boxes(np.arange(1))
    assert len(Truth().boxes(np.arange(1))) == 1


def test_every_kind_of_feedback_has_a_yes_or_a_reason():
    assert issubclass(DecoyMNIST, Dataset)
    assert set(DecoyMNIST.evidence) == set(FeedbackKind)
    assert DecoyMNIST.unable(FeedbackKind.BOX) is None
    assert "pixels" in DecoyMNIST.unable(FeedbackKind.RELEVANT_MASK)
    assert Source("auto") is Source.AUTO
