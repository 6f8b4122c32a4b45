"""Training several MLPs at once: the seeds of a cell, stacked.

All parameters of a network lie in one row of a matrix (S, P), so that a step of Adam over S networks is one call, and
layers are slices (S, out, in) of it. Images, labels and feedback stay where they are, one set per network; only the
rows of a step are brought together.

Nothing here lets a network feel its company, down to the last bit: products are batched (each slice is the same product
whatever S is, and begins where it would begin alone), sums run over the trailing dimensions, everything else is element
by element. The same code trains one network, as a stack of one; tests/test_stacking.py compares the bits. That a slice
of a batched product does not depend on the number of slices is the linear algebra library's doing: the tests hold for
the machine that they ran on.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from crayon_bench.errors import TrainingError
from crayon_bench.fused import Work, cross_entropy
from crayon_bench.models import MLP, MLPForward
from crayon_bench.parameters import Parameters
from crayon_bench.protocol import Recipe
from crayon_bench.training import Batch, Penalty, epoch_order

_ALIGNED = 16
"""Floats: every layer begins at a cache line, in every row."""


@dataclass(frozen=True)
class Training:
    """One network's part of a training; see :func:`crayon_bench.training.fit` for the fields.

    own: the penalty wants shapes (B, …), without the stack's dimension, and may keep what ``batch`` gives it.
    """

    model: MLP
    images: Tensor
    labels: Tensor
    recipe: Recipe
    order_seed: int
    penalty: Penalty | None = None
    feedback: Mapping[str, Tensor] = field(default_factory=dict)
    on_epoch: Callable[[int, int, float], None] | None = None
    select: Callable[[nn.Module], float] | None = None
    own: bool = False


def can_stack(model: nn.Module, device: torch.device) -> TypeGuard[MLP]:
    """Return whether :func:`train` can train *model*: an MLP as the harness makes it, on a CPU, all of it trained."""
    if type(model) is not MLP or device.type != "cpu":
        return False
    layers = [*model.weights, *model.biases]
    whole = len(list(model.parameters())) == len(layers) and not list(model.buffers())
    alike = {(p.dtype, p.device.type) for p in layers}
    return whole and len(alike) == 1 and all(p.requires_grad for p in layers) and model.weights[0].ndim == 2


class _Rows:
    """The parameters of S networks, one row each."""

    def __init__(self, models: Sequence[MLP]) -> None:
        layers = [[p.detach() for p in (*model.weights, *model.biases)] for model in models]
        starts, end = [], 0
        for p in layers[0]:
            starts.append(end)
            end += -(-p.numel() // _ALIGNED) * _ALIGNED
        self.matrix = nn.Parameter(torch.zeros(len(models), end, dtype=layers[0][0].dtype))
        self.matrix.grad = torch.zeros_like(self.matrix)
        self.leaves, self.gradients = [], []
        for number, (start, p) in enumerate(zip(starts, layers[0], strict=True)):
            for s, own in enumerate(layers):
                if own[number].shape != p.shape:
                    raise ValueError("networks of different shapes cannot be stacked")
                self.matrix.data[s, start : start + p.numel()] = own[number].flatten()
            leaf, gradient = (
                rows[:, start : start + p.numel()].view(len(models), *p.shape)
                for rows in (self.matrix.data, self.matrix.grad)
            )
            self.leaves.append(leaf.requires_grad_())
            self.gradients.append(gradient)

    def write_into(self, models: Sequence[MLP]) -> None:
        """Copy every network's row into its own parameters."""
        with torch.no_grad():
            for s, model in enumerate(models):
                for p, leaf in zip((*model.weights, *model.biases), self.leaves, strict=True):
                    p.copy_(leaf[s])


def train(trainings: Sequence[Training]) -> None:
    """Train the networks at once, in place. The penalty is that of the first; see :func:`alike`.

    Raises TrainingError if the loss of one stops being finite; none of them is to be used then.
    """
    first, S = trainings[0], len(trainings)
    models, recipe, penalty = [t.model for t in trainings], first.recipe, first.penalty
    if first.own and S > 1:
        raise ValueError("a penalty for one network cannot be given a stack")
    rows = _Rows(models)
    work = Work(rows.gradients[0])
    depth = len(first.model.weights)
    weights, biases = rows.leaves[:depth], rows.leaves[depth:]
    dtype = weights[0].dtype
    pixels = [t.images.flatten(1).contiguous() for t in trainings]
    labels, feedback = torch.stack([t.labels for t in trainings]), [t.feedback for t in trainings]
    adam = torch.optim.Adam([rows.matrix], lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    best: list[tuple[float, dict[str, Tensor]] | None] = [None] * S
    n = len(first.images)
    for epoch in range(1, recipe.epochs + 1):
        adam.param_groups[0]["lr"] = recipe.lr_at(epoch)
        order = torch.stack([epoch_order(t.order_seed, epoch, n) for t in trainings])
        total = torch.zeros(S, dtype=dtype)
        for model in models:
            model.train()
        for index in torch.split(order, recipe.batch, dim=-1):
            work.begin()
            forward = MLPForward.in_training(first.model, _rows_of(pixels, index, work), weights, biases, work)
            batch = _Stack(labels.gather(-1, index), index, {}, feedback, work)
            loss = cross_entropy(forward.logits, batch.labels)
            if penalty is not None and first.own:
                own = Batch(batch.labels[0], index[0], first.feedback)
                loss = loss + penalty(forward.only(), own).unsqueeze(0)
            elif penalty is not None:
                loss = loss + penalty(forward, batch)
            through, *gradients = torch.autograd.grad(loss.mean(-1).sum(), rows.leaves, allow_unused=True)
            if through is not None:  # what the penalty did with the first layer beside the fused sums
                rows.gradients[0].add_(through)
            for kept, gradient in zip(rows.gradients[1:], gradients, strict=True):
                kept.copy_(gradient)
            adam.step()
            total += loss.detach().sum(-1)
        means = [float(value) / n for value in total]
        for mean in means:
            if not np.isfinite(mean):
                raise TrainingError(
                    f"the loss is {mean} after epoch {epoch} of {recipe.epochs}; try a smaller lr or weight"
                )
        for t, mean in zip(trainings, means, strict=True):
            if t.on_epoch is not None:
                t.on_epoch(epoch, recipe.epochs, mean)
        if any(t.select is not None for t in trainings):
            rows.write_into(models)
            for s, t in enumerate(trainings):
                if t.select is None:
                    continue
                t.model.eval()
                score, earlier = t.select(t.model), best[s]
                if earlier is None or score > earlier[0]:
                    state = {name: value.detach().clone() for name, value in t.model.state_dict().items()}
                    best[s] = score, state
    rows.write_into(models)
    for t, chosen in zip(trainings, best, strict=True):
        if chosen is not None:
            t.model.load_state_dict(chosen[1])
        t.model.eval()


@dataclass(frozen=True)
class _Stack(Batch):
    """The examples of one step of S networks: labels and index (S, B)."""

    parts: Sequence[Mapping[str, Tensor]]
    work: Work

    def __getitem__(self, name: str) -> Tensor:
        """Return this batch's rows of each network's feedback *name*: (S, B, …); until the next step."""
        return _rows_of([part[name] for part in self.parts], self.index, self.work)


def _rows_of(values: Sequence[Tensor], index: Tensor, work: Work) -> Tensor:
    """Return the rows *index* (S, B) of each network's own tensor (N, …): (S, B, …)."""
    found = work.take((*index.shape, *values[0].shape[1:]), values[0].dtype, values[0].device)
    for s, own in enumerate(values):
        torch.index_select(own, 0, index[s], out=found[s])
    return found


def alike(penalties: Sequence[Any]) -> list[list[int]]:
    """Return which penalties (or tuples with what belongs to them) may stand for one another, as lists of positions.

    The methods of several runs each make a penalty of their own. Two are alike if their code is the same and what they
    have caught from around them is equal; the job is not looked at. Whatever cannot be compared counts as different:
    those networks are trained apart, with the same result.
    """
    groups: list[list[int]] = []
    for number, penalty in enumerate(penalties):
        for group in groups:
            if _same(penalties[group[0]], penalty):
                group.append(number)
                break
        else:
            groups.append([number])
    return groups


def _same(a: Any, b: Any) -> bool:
    from crayon_bench.method import Job

    if a is b or (isinstance(a, Job) and isinstance(b, Job)):
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and bool(torch.equal(a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and bool(np.array_equal(a, b))
    if isinstance(a, FunctionType):
        return a.__code__ is b.__code__ and all(
            _same(x, y)
            for x, y in (
                (a.__defaults__, b.__defaults__),
                (a.__kwdefaults__, b.__kwdefaults__),
                (_caught(a), _caught(b)),
            )
        )
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(_same, a.values(), b.values()))
    return isinstance(a, int | float | str | bool | Parameters) and bool(a == b)


def _caught(function: FunctionType) -> list[Any]:
    return [cell.cell_contents for cell in function.__closure__ or ()]
