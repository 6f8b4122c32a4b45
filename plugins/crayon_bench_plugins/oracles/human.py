"""The human oracle: what people have answered, from a folder that ``crayon-bench annotate`` wrote."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from crayon_bench import (
    Bools,
    Boxes,
    Dataset,
    Evidence,
    FeedbackKind,
    FeedbackOracle,
    Floats,
    Found,
    Groups,
    Ints,
    Masks,
    Parameters,
    Patches,
    UserError,
    Verdict,
    Verdicts,
)
from crayon_bench_plugins.annotation.answers.folder import Answers
from crayon_bench_plugins.annotation.answers.haste import TOO_FAST, by_annotator, too_fast
from crayon_bench_plugins.annotation.answers.manifest import Manifest
from crayon_bench_plugins.annotation.answers.reading import Recorded, read_all
from crayon_bench_plugins.annotation.answers.shown import map_hash, neuron_id, patches_hash
from crayon_bench_plugins.annotation.answers.tasks import MAYBE, NO, SKIP, YES, Task, is_word
from crayon_bench_plugins.annotation.answers.votes import Vote, is_drawn, majority, majority_mask, median_box

TASKS = {
    FeedbackKind.MAP_VERDICT: Task.MAPS,
    FeedbackKind.NEURON_VERDICT: Task.NEURONS,
    FeedbackKind.BOX: Task.BOXES,
    FeedbackKind.RELEVANT_MASK: Task.MASKS,
    FeedbackKind.IRRELEVANT_MASK: Task.MASKS,
}
"""Where each kind of question is answered. What does not matter is what was not painted."""

_VERDICTS = {YES: Verdict.YES, NO: Verdict.NO, MAYBE: Verdict.MAYBE}


class HumanParameters(Parameters):
    """What becomes of answers about something else than is asked about."""

    misfit: Literal["leave", "use"] = Field(
        default="leave",
        description="leave: an answer about another map or other patches than the run's is not used, the question stays"
        " unasked; use: it is used all the same. A warning counts them either way",
    )


class HumanOracle(FeedbackOracle):
    """Answers as people did, from recorded answers (``--answers DIR``).

    Examples are matched by their names, neurons by their numbers. Several annotators' answers become one: the majority
    of yes, no and maybe, a tie is maybe; of boxes the median of each side, of masks the pixels that more than half have
    painted, if more people drew one than said maybe. A question that nobody answered, or that all skipped, is unasked:
    it is not answered and not counted. Of boxes and masks, maybe is no answer either.

    An answer is about what was shown. Maps and patches of another model, such as another seed's, differ from those:
    whoever said yes to one map said nothing about the other. Such answers are left unasked unless ``misfit`` is
    ``use``, and a run none of whose answers fits fails. Boxes and masks are about the image and fit every model.

    Groups are not asked of people.
    """

    name = "human"
    title = "human"
    summary = "recorded answers of people (--answers DIR)"
    version = 1
    reads_answers = True
    Parameters = HumanParameters
    parameters: HumanParameters

    def __init__(self, parameters: HumanParameters, *, seed: int) -> None:
        super().__init__(parameters, seed=seed)
        self._recorded: dict[Task, Recorded] = {}
        self._paid: set[tuple[Task, str]] = set()

    @classmethod
    def fingerprint(cls, answers: Path) -> str:
        """Return a hash of what counts in *answers*: questions, and per question what was answered in what time.

        Neither the order of files and lines, nor what was undone, nor who said it. Masks are read and checked.
        """
        sums = hashlib.sha256(b"human answers 1\n")
        for task, recorded in read_all(answers).items():
            sums.update(f"{task} {recorded.manifest.digest}\n".encode())
            for example in sorted(recorded.votes):
                given = sorted(
                    [json.dumps(vote.answer), round(1000 * vote.event.seconds) if vote.event.timed else -1]
                    for vote in recorded.votes[example]
                )
                sums.update(json.dumps([example, given]).encode() + b"\n")
        return sums.hexdigest()

    def unable(self, kind: FeedbackKind, dataset: type[Dataset], found: Found) -> str | None:
        """Return why nobody answered this *kind* of question. Raises UserError for answers about another data set."""
        task = TASKS.get(kind)
        if task is None:
            return "groups are not asked of people"
        if self.answers is None:
            return "there are no recorded answers"
        recorded = read_all(self.answers)
        for one in recorded.values():
            self._check_data(one.manifest, {"name": dataset.name, "source": found.source, "content": found.content})
        if task not in recorded:
            return f"no answers about {task} are recorded in {self.answers.name}"
        if all(vote.answer == SKIP for votes in recorded[task].votes.values() for vote in votes):
            return f"nobody has answered a question about {task} in {self.answers.name}"
        return None

    def available(self, kind: FeedbackKind, numbers: Ints, shown: Any = None) -> Bools:
        """Return what has a recorded answer that may be used: a budget is spent on that alone."""
        task = TASKS.get(kind)
        if task is None or self.answers is None:
            return np.zeros(len(numbers), dtype=np.bool_)
        votes = self._of(task).votes
        answered = (lambda given: majority(_words(given)) is not None) if task.judged else is_drawn
        names = self._names(kind, numbers)
        there = np.array([(given := votes.get(name)) is not None and answered(given) for name in names], dtype=np.bool_)
        if shown is None or self.parameters.misfit == "use" or not there.any():
            return there
        recorded, hashed = self._of(task), self._hashes(kind, shown)
        fits = np.array([there[i] and hashed(i) == recorded.manifest.shown[name] for i, name in enumerate(names)])
        if misfits := int((there & ~fits).sum()):
            self._tell_misfits(task, recorded.manifest, misfits, int(fits.sum()))
        return fits

    def _hashes(self, kind: FeedbackKind, shown: Any) -> Callable[[int], str]:
        """Return what gives the hash of what the i-th question shows: a map, or a neuron's patches."""
        if kind is FeedbackKind.MAP_VERDICT:
            return lambda i: map_hash(shown[i])
        ids = self.situation.ids

        def of_patches(i: int) -> str:
            there = shown.examples[i] >= 0
            return patches_hash([ids[example] for example in shown.examples[i][there]], shown.boxes[i][there])

        return of_patches

    def judge_maps(self, examples: Ints, maps: Floats, evidence: Evidence) -> Verdicts:
        """Return what people said about these maps."""
        kind = FeedbackKind.MAP_VERDICT
        return self._judge(kind, self._names(kind, examples), self._hashes(kind, maps))

    def judge_neurons(self, patches: Patches, evidence: Evidence) -> Verdicts:
        """Return what people said about these neurons."""
        kind = FeedbackKind.NEURON_VERDICT
        return self._judge(kind, self._names(kind, patches.neurons), self._hashes(kind, patches))

    def boxes(self, examples: Ints, evidence: Evidence) -> Boxes:
        """Return the boxes that people drew."""
        values = np.zeros((len(examples), 4), dtype=np.int64)
        answered = np.zeros(len(examples), dtype=np.bool_)
        for i, drawn in self._drawn(FeedbackKind.BOX, examples):
            values[i] = median_box([vote.answer for vote in drawn if isinstance(vote.answer, tuple)])
            answered[i] = True
        return Boxes(values, answered)

    def relevant_masks(self, examples: Ints, evidence: Evidence) -> Masks:
        """Return the masks that people painted."""
        return self._masks(FeedbackKind.RELEVANT_MASK, examples)

    def irrelevant_masks(self, examples: Ints, evidence: Evidence) -> Masks:
        """Return what people did not paint."""
        painted = self._masks(FeedbackKind.IRRELEVANT_MASK, examples)
        return Masks(~painted.values & painted.answered[:, None, None], painted.answered)

    def groups(self, examples: Ints, truth: Ints) -> Groups:
        """Leave every question unanswered."""
        return Groups(np.full(len(examples), -1, dtype=np.int64), np.zeros(len(examples), dtype=np.bool_))

    # -- from votes to answers

    def _judge(self, kind: FeedbackKind, names: Sequence[str], shown: Callable[[int], str]) -> Verdicts:
        recorded = self._of(TASKS[kind])
        values = np.full(len(names), Verdict.UNASKED, dtype=np.int8)
        misfits = fits = 0
        use = self.parameters.misfit == "use"
        for i, name in enumerate(names):
            given = recorded.votes.get(name)
            if given is None:
                continue
            answer = majority(_words(given))
            if answer is None:
                self.warn(f"{TASKS[kind]} that were skipped by all who were asked, left unasked")
                continue
            if shown(i) == recorded.manifest.shown[name]:
                fits += 1
            else:
                misfits += 1
                if not use:
                    continue
            values[i] = _VERDICTS[answer]
            self._pay(kind, name, [vote for vote in given if vote.answer != SKIP])
        if misfits:
            self._tell_misfits(TASKS[kind], recorded.manifest, misfits, fits)
        return Verdicts(values)

    def _tell_misfits(self, task: Task, manifest: Manifest, misfits: int, fits: int) -> None:
        same = manifest.model == self.situation.model
        what = "of this model, but shown otherwise or computed on another machine" if same else "of another model"
        if not fits and self.parameters.misfit == "leave":
            seed = "" if manifest.seed is None or same else f" (seed {manifest.seed}, protocol {manifest.protocol})"
            raise UserError(
                f"answers {self._path.name}: none of {misfits} fits: they are about {task} {what}{seed}",
                f"let people answer about this model's {task}, run the model that they saw, or use the answers all the"
                " same with --set oracle.misfit=use",
            )
        become = "used all the same" if self.parameters.misfit == "use" else "left unasked"
        self.warn(f"answers about {task} {what}, {become}", misfits)

    def _masks(self, kind: FeedbackKind, examples: Ints) -> Masks:
        folder = Answers(self._path)
        size = self.situation.image_size
        values = np.zeros((len(examples), *size), dtype=np.bool_)
        answered = np.zeros(len(examples), dtype=np.bool_)
        for i, drawn in self._drawn(kind, examples):
            values[i] = majority_mask([folder.read_mask(vote.annotator, str(vote.answer), size) for vote in drawn])
            answered[i] = True
        return Masks(values, answered)

    def _drawn(self, kind: FeedbackKind, examples: Ints) -> list[tuple[int, list[Vote]]]:
        """Return the questions that are answered, by place, with the votes that count."""
        recorded = self._of(TASKS[kind])
        if recorded.manifest.image_size != self.situation.image_size:
            height, width = recorded.manifest.image_size
            raise UserError(
                f"answers {self._path}: they are about images of {width} x {height} pixels, and this run's are"
                f" {self.situation.image_size[1]} x {self.situation.image_size[0]}",
                "run it with the parameters of the data set that people saw",
            )
        self._tell_other_pictures(TASKS[kind], recorded.manifest.dataset)
        found = []
        for i, name in enumerate(self._names(kind, examples)):
            given = recorded.votes.get(name)
            if given is None:
                continue
            if is_drawn(given):
                found.append((i, [vote for vote in given if not is_word(vote.answer)]))
                self._pay(kind, name, [vote for vote in given if vote.answer != SKIP])
            elif all(vote.answer == SKIP for vote in given):
                self.warn(f"{TASKS[kind]} that were skipped by all who were asked, left unasked")
            else:
                self.warn(f"{TASKS[kind]} of which people said maybe, left unasked")
        return found

    def _tell_other_pictures(self, task: Task, seen: Mapping[str, Any]) -> None:
        """Warn if the same files were read otherwise: cropped, say, or not turned, so that drawings lie elsewhere."""
        both = seen, self.situation.dataset
        if not all(isinstance(dataset.get("parameters"), Mapping) for dataset in both):
            return
        theirs, mine = ({"version": dataset.get("version"), **dataset["parameters"]} for dataset in both)
        if differing := sorted(k for k in {*theirs, *mine} if theirs.get(k) != mine.get(k)):
            told = ", ".join(f"dataset.{k} {theirs.get(k, 'unset')}, now {mine.get(k, 'unset')}" for k in differing)
            self.warn(f"{task} that people drew when the data set was read otherwise ({told})")

    def _pay(self, kind: FeedbackKind, name: str, votes: Sequence[Vote]) -> None:
        if not self._of(TASKS[kind]).timed:
            return
        # Once for each question: that the same mask tells what matters and what does not took nobody more time.
        # Its time is then known, and none: without an entry it would count as unknown, and so would the whole run's.
        self.seconds.setdefault(kind, 0.0)
        if (TASKS[kind], name) not in self._paid:
            self._paid.add((TASKS[kind], name))
            self.seconds[kind] += sum(vote.event.seconds for vote in votes)

    # -- the folder

    @property
    def _path(self) -> Path:
        assert self.answers is not None
        return self.answers

    def _names(self, kind: FeedbackKind, numbers: Ints) -> list[str]:
        if kind is FeedbackKind.NEURON_VERDICT:
            return [neuron_id(number) for number in numbers.tolist()]
        return [self.situation.ids[number] for number in numbers.tolist()]

    def _of(self, task: Task) -> Recorded:
        if task not in self._recorded:
            everything = read_all(self._path)
            if task not in everything:
                raise UserError(f"answers {self._path}: no answers about {task} are recorded there")
            recorded = everything[task]
            self._check_data(recorded.manifest, self.situation.dataset)
            if recorded.torn:
                self.warn("torn last lines of recorded answers, which do not count", recorded.torn)
            for given in by_annotator(recorded.votes).values():
                if hurried := too_fast(given):
                    self.warn(f"answers about {task} that came within {TOO_FAST} s of the question", hurried)
            self._recorded[task] = recorded
        return self._recorded[task]

    def _check_data(self, manifest: Manifest, dataset: Any) -> None:
        for key in ("name", "source", "content"):
            theirs, ours = manifest.dataset[key], str(dataset.get(key))
            if theirs != ours:
                raise UserError(
                    f"answers {self.answers}: they are about other data: {key} {theirs[:64]}, not {ours[:64]}",
                    "give the answers that belong to this data set, or run the data set that people saw",
                )


def _words(votes: Sequence[Vote]) -> list[str]:
    return [str(vote.answer) for vote in votes]
