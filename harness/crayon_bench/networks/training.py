"""The training loop that the original model and every method share.

A penalty is a function ``penalty(forward, batch)`` that returns one term per example, (B,), from the ONE forward pass
of the step. The step's loss is the mean or the sum over the batch of cross-entropy plus penalty, as the recipe says:
to Adam a constant factor, which it ignores but for its weight decay.

Networks train in train mode: batch normalisation takes the statistics of the batch, for logits and map alike, and its
running ones, with which the network is judged, move once a step, by ``bn_momentum``.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crayon_bench.data.paging import Rows
from crayon_bench.errors import TrainingError
from crayon_bench.networks.classifier import Classifier, Forward, batch_for_maps
from crayon_bench.networks.specification import Recipe
from crayon_bench.seeds import derive_seed

# torch wraps its optimisers' methods for torch.compile, and imports its compiler at the first call of one: two seconds
# and more in every process. Nothing is compiled here, so that they may be what they wrap.
for _method in (torch.optim.Optimizer.add_param_group, torch.optim.Optimizer.zero_grad):
    if (_wrapped := inspect.unwrap(_method)) is not _method:
        vars(_wrapped).setdefault("__dynamo_disable", _wrapped)
_OPTIMIZERS: dict[str, type[torch.optim.Adam] | type[torch.optim.SGD]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
_STEPS = {name: torch.no_grad()(inspect.unwrap(kind.step)) for name, kind in _OPTIMIZERS.items()}


@dataclass(frozen=True)
class Batch:
    """The examples of one step. labels: int64 (B,). index: their positions in the training set, int64 (B,)."""

    labels: Tensor
    index: Tensor
    feedback: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        """Return this batch's rows of the feedback tensor *name*: (B, …)."""
        return self.feedback[name].index_select(0, self.index)  # several times as fast as [index]


Penalty = Callable[[Forward, Batch], Tensor]
"""``penalty(forward, batch)``: one term per example, (B,), from the one forward pass of the step."""


def fit(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    *,
    order_seed: int,
    penalty: Penalty | None = None,
    feedback: Mapping[str, Tensor] | None = None,
    on_epoch: Callable[[int, int, float], None] | None = None,
    select: Callable[[nn.Module], float] | None = None,
    parameters: Iterable[nn.Parameter] | None = None,
) -> None:
    """Train *model* in place.

    images: uint8 (N, C, H, W), on any device. labels: int64 (N,), where the model is. parameters: those to train;
    None for all. feedback: tensors (N, …). order_seed: decides the order of examples. on_epoch: called with epoch
    (from 1), number of epochs, mean loss. select: scores the model after each epoch; the best epoch's weights are
    kept, the earliest on ties; None keeps the last. Raises TrainingError if the loss stops being finite.
    """
    feedback = feedback or {}
    n, device, rows = len(images), labels.device, Rows(images)
    optimizer = _OPTIMIZERS[recipe.optimizer](
        parameters if parameters is not None else model.parameters(),
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    step = _STEPS[recipe.optimizer]
    normalisations = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    joined = bool(normalisations)
    best: tuple[float, dict[str, Tensor]] | None = None
    with _momentum(normalisations, recipe.bn_momentum):
        for epoch in range(1, recipe.epochs + 1):
            for group in optimizer.param_groups:
                group["lr"] = recipe.lr_at(epoch)
            model.train()
            order = epoch_order(order_seed, epoch, n).to(device)
            total = torch.zeros((), device=device)
            for index in _steps(order, recipe.batch, joined):
                forward = model.run(rows[index.to(images.device)].to(device))
                batch = Batch(labels[index], index, feedback)
                loss = cross_entropy(forward.logits, batch.labels)
                if penalty is not None:
                    loss = loss + penalty(forward, batch)
                optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(loss.sum() if recipe.reduction == "sum" else loss.mean())
                step(optimizer)
                total += loss.detach().sum()
            mean = float(total) / n
            if not torch.isfinite(total):
                raise TrainingError(
                    f"the loss is {mean} after epoch {epoch} of {recipe.epochs}; try a smaller lr or weight"
                )
            if on_epoch is not None:
                on_epoch(epoch, recipe.epochs, mean)
            if select is not None:
                model.eval()
                score = select(model)
                if best is None or score > best[0]:
                    best = score, {name: value.detach().clone() for name, value in model.state_dict().items()}
    if best is not None:
        model.load_state_dict(best[1])
    model.eval()


@contextmanager
def _momentum(normalisations: Sequence[nn.modules.batchnorm._BatchNorm], momentum: float | None) -> Iterator[None]:
    """Give *normalisations* this momentum meanwhile; None leaves them their own."""
    own = [module.momentum for module in normalisations]
    for module in normalisations if momentum is not None else ():
        module.momentum = momentum
    try:
        yield
    finally:
        for module, before in zip(normalisations, own, strict=True):
            module.momentum = before


def _steps(order: Tensor, batch: int, joined: bool) -> list[Tensor]:
    """Return the examples of each step; a last step of one is *joined* to the one before."""
    steps = list(torch.split(order, batch))
    if joined and len(steps) > 1 and len(steps[-1]) == 1:
        # Batch normalisation has no statistics of one example.
        steps[-2:] = [torch.cat(steps[-2:])]
    return steps


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return −log p(label) for each example, (B,)."""
    return nn.functional.cross_entropy(logits, labels, reduction="none")


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, device: str | torch.device | None = None) -> Tensor:
    """Return the logits (N, classes) of *images* (N, C, H, W), in eval mode; the model is on *device*."""
    model.eval()
    batch = batch_for_maps(images.shape[1:])
    rows = Rows(images)
    parts = (rows[start : start + batch] for start in range(0, len(images), batch))
    return torch.cat([model(part if device is None else part.to(device)) for part in parts])


def epoch_order(seed: int, epoch: int, n: int) -> Tensor:
    """Return the order of *n* examples in an epoch, int64 (n,)."""
    # A generator per epoch and not one for all: an epoch's order does not depend on how many came before.
    return torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(seed, f"epoch {epoch}")))
