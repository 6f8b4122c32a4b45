"""The ledger: the only way in which a method meets an oracle. It asks, and counts what is answered.

The ``#FB`` column of every table is that count. Unanswered questions (``answered`` false, ``Verdict.UNASKED``) are not
counted. Under a budget, questions that it does not allow are not put to the oracle at all, and come back unanswered.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crayon_bench.dataset import Evidence
from crayon_bench.errors import GuardError
from crayon_bench.feedback import FeedbackKind, Verdict
from crayon_bench.guard import answering
from crayon_bench.ledger.allowance import Allowance
from crayon_bench.ledger.controls import Answer, Weakened
from crayon_bench.oracle import Bools, Boxes, FeedbackOracle, Floats, Groups, Ints, Masks, Patches, Verdicts


class Judged(NamedTuple):
    """Maps, float32 (n, H, W), of n examples, and what was answered about them: :class:`Verdict`, int8 (n,)."""

    examples: Ints
    maps: Floats
    values: NDArray[np.int8]


@dataclass
class Receipt:
    """What a method was answered: number of answers by kind, and how often each verdict was given by kind.

    lent: answers by kind that a control learned the tally of and nothing else; they are not part of the count.
    """

    by_kind: Counter[FeedbackKind] = field(default_factory=Counter)
    verdicts: dict[FeedbackKind, Counter[str]] = field(default_factory=dict)
    lent: Counter[FeedbackKind] = field(default_factory=Counter)
    seconds: dict[FeedbackKind, float] = field(default_factory=dict)
    """Seconds that people took, by kind, where the oracle knows."""
    warnings: dict[str, int] = field(default_factory=dict)
    judged: list[Judged] = field(default_factory=list)
    """The true answers about maps, call by call; none under a control."""

    @property
    def total(self) -> int:
        """Number of answers of all kinds."""
        return self.by_kind.total()


@dataclass(frozen=True)
class _Account:
    oracle: FeedbackOracle
    evidence: Evidence
    groups: Callable[[Ints], Ints]
    asks: frozenset[FeedbackKind]
    control: bool
    size: int
    allowance: Allowance | None
    receipt: Receipt
    weakened: Weakened | None = None

    def pick(self, kind: FeedbackKind, numbers: Ints, shown: Any = None) -> Any:
        """Return which questions about these images or neurons may be asked: an index."""
        if self.allowance is None:
            return slice(None)
        return self.allowance.pick(kind, numbers, self.oracle.available(kind, numbers, shown))


# Kept here, by number, and not as attributes of the ledger: what a method holds must not lead to evidence.
_accounts: dict[int, _Account] = {}


_numbers = count(1)


class MeteredOracle:
    """The oracle as a method sees it: asks, and counts what is answered.

    Raises GuardError for a kind of question that the method does not declare in ``asks``, ValueError for questions
    about examples or with maps that do not exist.
    """

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def judge_maps(self, examples: Ints, maps: Floats) -> Verdicts:
        """Ask, for each of n maps, float (n, H, W) ≥ 0, whether it looks at the right place. Counts n answers."""
        examples = _positions(examples)
        maps = np.asarray(maps, dtype=np.float32)
        if maps.ndim != 3 or len(maps) != len(examples):
            raise ValueError(f"judge_maps wants one (H, W) map for each of {len(examples)} examples, not {maps.shape}")
        if not np.isfinite(maps).all() or (maps < 0).any():
            raise ValueError("judge_maps wants finite maps ≥ 0")
        return self._ask(
            FeedbackKind.MAP_VERDICT,
            examples,
            lambda a, at: a.oracle.judge_maps(examples[at], maps[at], a.evidence),
            shown=maps,
        )

    def judge_neurons(self, patches: Patches) -> Verdicts:
        """Ask, for each of n neurons, whether its patches show something relevant. Counts n answers."""
        _check_patches(patches)
        return self._ask(
            FeedbackKind.NEURON_VERDICT,
            patches.examples[patches.examples >= 0],
            lambda a, at: a.oracle.judge_neurons(patches.at(at), a.evidence),
            neurons=patches.neurons,
            shown=patches,
        )

    def tally_neurons(self, patches: Patches) -> dict[str, int]:
        """Return how many of n neurons would be judged yes, no and maybe, for a control and for nothing else.

        A control does as much as the method that it controls, without knowing where. It learns these three numbers
        alone; the answers behind them are not part of its #FB, and the record names them as lent. Raises GuardError
        for a method that is not declared as a ``control``.
        """
        account = _accounts.get(self._number)
        if account is None or not account.control:
            raise GuardError("tallies are for methods that declare control = True, inside refine()")
        _check_patches(patches)
        with answering():
            patches = patches.at(account.pick(FeedbackKind.NEURON_VERDICT, patches.neurons, patches))
            before = dict(account.oracle.seconds)
            given = account.oracle.judge_neurons(patches, account.evidence)
            account.oracle.seconds = before  # it is the other method that pays for them
        given = _checked(given, len(patches), account.oracle.name)
        account.receipt.lent[FeedbackKind.NEURON_VERDICT] += int(given.answered.sum())
        return {v.name.lower(): int((given.values == v).sum()) for v in (Verdict.YES, Verdict.NO, Verdict.MAYBE)}

    def relevant_masks(self, examples: Ints) -> Masks:
        """Ask for the pixels that matter, one mask per example."""
        examples = _positions(examples)
        return self._ask_masks(
            FeedbackKind.RELEVANT_MASK, examples, lambda a, some: a.oracle.relevant_masks(some, a.evidence)
        )

    def irrelevant_masks(self, examples: Ints) -> Masks:
        """Ask for the pixels that must not matter, one mask per example."""
        examples = _positions(examples)
        return self._ask_masks(
            FeedbackKind.IRRELEVANT_MASK, examples, lambda a, some: a.oracle.irrelevant_masks(some, a.evidence)
        )

    def boxes(self, examples: Ints) -> Boxes:
        """Ask for a bounding box around what matters, one per example."""
        examples = _positions(examples)
        return self._ask(FeedbackKind.BOX, examples, lambda a, at: a.oracle.boxes(examples[at], a.evidence))

    def groups(self, examples: Ints) -> Groups:
        """Ask for training group labels, one per example."""
        examples = _positions(examples)
        return self._ask(
            FeedbackKind.GROUP, examples, lambda a, at: a.oracle.groups(examples[at], a.groups(examples[at]))
        )

    def chosen(self, kind: FeedbackKind, examples: Ints) -> Ints:
        """Return those of the *examples*, in their order, about which the budget allows a question of this *kind* now.

        All of them without a budget. For a method that asks in several calls: it asks about these alone. In one call,
        there is no need for it: questions that are not allowed come back unanswered.
        """
        examples = _positions(examples)
        account = self._account(kind)
        _check_positions(examples, account.size)
        with answering():
            return np.asarray(examples[account.pick(kind, examples)])

    def able(self, kind: FeedbackKind, examples: Ints) -> Ints:
        """Return those of the *examples*, in their order, about which this *kind* of question could be answered.

        That is all of them, unless answers were recorded and there are none about some. It asks nothing.
        """
        examples = _positions(examples)
        account = self._account(kind)
        _check_positions(examples, account.size)
        with answering():
            return np.asarray(examples[account.oracle.available(kind, examples)])

    def reserve(self, kind: FeedbackKind, number: int) -> None:
        """Set *number* questions of the budget aside for a *kind* that is asked about later, its equal share at most.

        Without it, the equal share is set aside.
        """
        account = self._account(kind)
        if account.allowance is not None:
            account.allowance.reserve(kind, number)

    def _account(self, kind: FeedbackKind) -> _Account:
        account = _accounts.get(self._number)
        if account is None:
            raise GuardError("this run's oracle is closed: feedback is asked for inside refine()")
        if kind not in account.asks:
            raise GuardError(f"the method asked for '{kind}' feedback, which its 'asks' does not declare")
        return account

    def _ask_masks(self, kind: FeedbackKind, examples: Ints, about: Callable[[_Account, Ints], Masks]) -> Masks:
        """Ask for masks. about: what the oracle says about any examples, for controls; it may be asked in parts."""

        def answer(account: _Account, at: Any) -> Masks:
            name = account.oracle.name

            def ask(some: Ints) -> Masks:
                return _checked(about(account, some), len(some), name)

            given = ask(examples[at])
            if account.weakened is None:
                return given
            paid = dict(account.oracle.seconds)
            there = np.arange(account.size)
            less = account.weakened.masks(kind, given, examples[at], ask, there[account.oracle.available(kind, there)])
            account.oracle.seconds = paid  # of the questions that were asked, not of those about others
            return less

        return self._ask(kind, examples, answer)

    def _ask(
        self,
        kind: FeedbackKind,
        examples: Ints,
        answer: Callable[[_Account, Any], Answer],
        *,
        neurons: Ints | None = None,
        shown: Any = None,
    ) -> Answer:
        account = self._account(kind)
        _check_positions(examples, account.size)
        numbers = examples if neurons is None else neurons
        with answering():
            at = account.pick(kind, numbers, shown)
            given = answer(account, at)
        n = len(numbers[at])
        given = _checked(given, n, account.oracle.name)
        if kind is FeedbackKind.MAP_VERDICT and isinstance(given, Verdicts) and account.weakened is None:
            account.receipt.judged.append(Judged(examples[at], shown[at], given.values))
        if account.weakened is not None and not isinstance(given, Masks):
            given = account.weakened(kind, given, None if neurons is not None else examples[at])
        if account.allowance is not None:
            account.allowance.spend(kind, n)
            given = _spread(given, at)
        account.receipt.by_kind[kind] += int(given.answered.sum())
        if isinstance(given, Verdicts):
            tally = account.receipt.verdicts.setdefault(kind, Counter())
            for verdict in (Verdict.YES, Verdict.NO, Verdict.MAYBE):
                tally[verdict.name.lower()] += int((given.values == verdict).sum())
        return given


def _check_positions(examples: Ints, size: int) -> None:
    if examples.ndim != 1 or (len(examples) and not 0 <= examples.min() <= examples.max() < size):
        raise ValueError(f"examples must be positions in the training split, 0 to {size - 1}")


def _check_patches(patches: Patches) -> None:
    n, k = patches.examples.shape
    if patches.neurons.shape != (n,) or patches.boxes.shape != (n, k, 4):
        raise ValueError("patches: examples must be (n, k), boxes (n, k, 4), neurons (n,)")


def _positions(examples: Any) -> Ints:
    array = np.asarray(examples)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"examples must be positions in the training split, not {array.dtype} values")
    return array.astype(np.int64)


def _checked(given: Answer, n: int, oracle: str) -> Answer:
    """Return the answer with what was not answered blanked: what is not counted must not be seen."""
    answered = given.answered
    if len(given.values) != n or answered.shape != (n,) or answered.dtype != np.bool_:
        raise ValueError(f"oracle '{oracle}' gave {len(given.values)} answers to {n} questions")
    if isinstance(given, Verdicts):
        if not np.isin(given.values, list(Verdict)).all():
            raise ValueError(f"oracle '{oracle}' gave a verdict that there is not")
        return given
    if answered.all():
        return given
    values = np.where(answered.reshape(-1, *[1] * (given.values.ndim - 1)), given.values, _BLANK[type(given)])
    return type(given)(values.astype(given.values.dtype), answered)


_BLANK: dict[type[object], int] = {Masks: 0, Boxes: 0, Groups: -1, Verdicts: Verdict.UNASKED}


def _spread(given: Answer, at: Bools) -> Answer:
    """Return the answers to all questions: those *at* which one was asked, and blank ones elsewhere."""
    if at.all():
        return given
    values = np.full((len(at), *given.values.shape[1:]), _BLANK[type(given)], dtype=given.values.dtype)
    values[at] = given.values
    if isinstance(given, Verdicts):
        return type(given)(values)
    answered = np.zeros(len(at), dtype=np.bool_)
    answered[at] = given.answered
    return type(given)(values, answered)


def open_ledger(
    oracle: FeedbackOracle,
    evidence: Evidence,
    *,
    groups: Callable[[Ints], Ints],
    asks: frozenset[FeedbackKind],
    size: int,
    control: bool = False,
    allowance: Allowance | None = None,
    weakened: Weakened | None = None,
) -> MeteredOracle:
    """Return the metered view of *oracle* for one run over *size* training examples.

    No *allowance*: no budget. *weakened*: what comes back in place of the answers, for a control.
    """
    number = next(_numbers)
    _accounts[number] = _Account(oracle, evidence, groups, asks, control, size, allowance, Receipt(), weakened)
    return MeteredOracle(number)


def close_ledger(ledger: MeteredOracle) -> Receipt:
    """End the run's questions and return what was answered. A second call returns an empty receipt."""
    account = _accounts.pop(ledger._number, None)
    if account is None:
        return Receipt()
    receipt, own = account.receipt, account.allowance
    receipt.seconds = dict(account.oracle.seconds)
    receipt.warnings = {**account.oracle.warnings, **(own.warnings if own is not None else {})}
    receipt.warnings |= account.weakened.warnings if account.weakened is not None else {}
    return receipt
