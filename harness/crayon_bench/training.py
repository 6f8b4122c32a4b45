"""The training loop that the original model and every method share.

A penalty is a function ``penalty(forward, batch)`` that returns one term per example, (…, B), from the ONE forward pass
of the step. The step's loss is the mean over the batch of cross-entropy plus penalty; papers that sum over the batch
differ by a constant factor, which Adam ignores but for its weight decay. With stacked parameters (see
:mod:`crayon_bench.models`) the means of the S networks are summed, so that no network feels the others.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from crayon_bench.errors import TrainingError
from crayon_bench.models import Classifier, Forward, batch_for_maps
from crayon_bench.paging import Rows
from crayon_bench.protocol import Recipe
from crayon_bench.seeds import derive_seed


@dataclass(frozen=True)
class Batch:
    """The examples of one step. labels: int64 (…, B). index: their positions in the training set, (…, B)."""

    labels: Tensor
    index: Tensor
    feedback: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        """Return this batch's rows of the feedback tensor *name*: (…, B, …)."""
        return _rows(self.feedback[name], self.index)


Penalty = Callable[[Forward, Batch], Tensor]


def fit(
    model: Classifier,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    *,
    order_seed: int | Sequence[int],
    penalty: Penalty | None = None,
    feedback: Mapping[str, Tensor] | None = None,
    on_epoch: Callable[[int, int, float], None] | None = None,
    select: Callable[[nn.Module], float] | None = None,
    parameters: Iterable[nn.Parameter] | None = None,
) -> None:
    """Train *model* in place.

    images: uint8 (N, C, H, W), on any device. labels: int64 (N,), where the model is. parameters: those to train;
    None for all. feedback: tensors (N, …); with S stacked networks (S, N, …).
    order_seed: decides the order of examples; with S stacked networks, S seeds. on_epoch: called with epoch (from 1),
    number of epochs, mean loss. select: scores the model after each epoch; the best epoch's weights are kept, the
    earliest on ties; None keeps the last.

    One MLP on a CPU is trained as a stack of one, see :mod:`crayon_bench.stacking`.
    Raises TrainingError if the loss stops being finite.
    """
    from crayon_bench.stacking import Training, can_stack, train  # here, because it needs this module

    feedback = feedback or {}
    n, device, rows = len(images), labels.device, Rows(images)
    if isinstance(order_seed, int) and parameters is None and can_stack(model, device):
        train([Training(model, images, labels, recipe, order_seed, penalty, feedback, on_epoch, select, own=True)])
        return
    optimizer = torch.optim.Adam(
        parameters if parameters is not None else model.parameters(),
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    joined = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    best: tuple[float, dict[str, Tensor]] | None = None
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
            torch.autograd.backward(loss.mean(-1).sum())
            optimizer.step()
            total += loss.detach().sum()
        mean = float(total) / order.numel()
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


def _steps(order: Tensor, batch: int, joined: bool) -> list[Tensor]:
    """Return the examples of each step; a last step of one is *joined* to the one before."""
    steps = list(torch.split(order, batch, dim=-1))
    if joined and len(steps) > 1 and steps[-1].shape[-1] == 1:
        # Batch normalisation has no statistics of one example.
        steps[-2:] = [torch.cat(steps[-2:], dim=-1)]
    return steps


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return −log p(label) for each example, (…, B)."""
    flat = nn.functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    return flat.view(labels.shape)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, device: str | torch.device | None = None) -> Tensor:
    """Return the logits (N, classes) of *images* (N, C, H, W), in eval mode; the model is on *device*."""
    model.eval()
    batch = batch_for_maps(images.shape[1:])
    rows = Rows(images)
    parts = (rows[start : start + batch] for start in range(0, len(images), batch))
    return torch.cat([model(part if device is None else part.to(device)) for part in parts])


def epoch_order(seed: int | Sequence[int], epoch: int, n: int) -> Tensor:
    """Return the order of *n* examples in an epoch, int64 (n,); for S seeds (S, n)."""
    if not isinstance(seed, int):
        return torch.stack([epoch_order(one, epoch, n) for one in seed])
    # A generator per epoch and not one for all: an epoch's order does not depend on how many came before.
    return torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(seed, f"epoch {epoch}")))


def _rows(values: Tensor, index: Tensor) -> Tensor:
    if index.ndim == 1:
        return values.index_select(0, index)  # several times as fast as values[index]
    return values[torch.arange(len(values), device=values.device)[:, None], index]
