"""Steps of training an MLP without waiting for memory: layers, cross-entropy and sums over maps, with their gradients.

A map has as many values as its image, and a penalty reduces it to one number per example. Autograd would keep a
dozen arrays of that size, and a step would wait for memory. Here each is made in a buffer, seed by seed so that it
stays in the processor's cache, and what is left of it is D, the derivative of the number with respect to the input
gradient G = u W, and D Wᵀ; the backward pass is then one matrix product.

Every function works on stacks: x (S, B, P), u (S, B, K), W (S, K, P), with P the pixels and K the width of the first
hidden layer. Each slice of S is computed by itself: a seed's numbers do not depend, to the last bit, on which other
seeds are computed beside it. The order in which MKL adds a product up may depend on where in a cache line its factors
and the result begin, so every slice begins where it would begin alone: :func:`apart`, :func:`_each`.
tests/test_gradients.py compares everything here with double backward in float64.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

F = TypeVar("F", bound=Callable[..., Any])


def _once(function: F) -> F:
    return cast("F", once_differentiable(function))


_LINE = 64
"""Bytes of a cache line: where torch lets every tensor begin."""


def apart(x: Tensor) -> Tensor:
    """Return x (S, m, n) with contiguous slices that begin at cache lines: itself, or a copy."""
    contiguous = x.stride(-1) == 1 and x.stride(-2) == x.shape[-1]
    between = x.stride(0) if len(x) > 1 else 0
    if contiguous and x.data_ptr() % _LINE == 0 and between * x.element_size() % _LINE == 0:
        return x
    return _empty_apart(x.shape, x.dtype, x.device).copy_(x)


def _empty_apart(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    S, m, n = shape
    line = _LINE // dtype.itemsize
    step = -(-m * n // line) * line
    return torch.empty(S * step, dtype=dtype, device=device).as_strided((S, m, n), (step, n, 1))


def _each(function: Callable[..., Tensor], *given: Tensor, result: tuple[int, int]) -> Tensor:
    """Return function(*given), or its slices one by one where those of a *result* (S, m, n) would not be apart.

    given: (S, …), of which the factors are apart.
    """
    S, itemsize = len(given[0]), given[0].element_size()
    if S == 1 or result[0] * result[1] * itemsize % _LINE == 0:
        return function(*given)
    return torch.cat([function(*(one[s : s + 1] for one in given)) for s in range(S)])


def _times(x: Tensor, y: Tensor) -> Tensor:
    return _each(torch.bmm, x, y, result=(x.shape[-2], y.shape[-1]))


def _affine(x: Tensor, W: Tensor, b: Tensor) -> Tensor:
    return _each(torch.baddbmm, b.unsqueeze(-2), x, W.mT, result=(x.shape[-2], W.shape[-2]))


class _Product(torch.autograd.Function):
    """x y for x (S, m, k) and y (S, k, n); not to be differentiated twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        x, y = apart(x), apart(y)
        ctx.save_for_backward(x, y)
        return _times(x, y)

    @staticmethod
    @_once
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        x, y = ctx.saved_tensors
        g = apart(g)
        return _times(g, y.mT), _times(x.mT, g)


def product(x: Tensor, y: Tensor) -> Tensor:
    """Return x y, (…, m, n); of stacks (S, …), each slice to the same bits whatever S is."""
    return cast("Tensor", _Product.apply(x, y)) if x.ndim == y.ndim == 3 else x @ y


class Work:
    """Buffers that the steps of one training use again: new memory costs a page fault for every 4 KiB.

    first: where the gradient of the first layer's weights (S, K, P) is summed; None: it goes through autograd.
    """

    def __init__(self, first: Tensor | None = None) -> None:
        self._first, self._begun = first, False
        self._kept: dict[tuple[object, ...], list[Tensor]] = {}
        self._taken: dict[tuple[object, ...], int] = {}

    def begin(self) -> None:
        """Begin a step: what was taken before may be taken again, and the gradient is zero."""
        self._taken.clear()
        self._begun = False

    def take(self, shape: Sequence[int], dtype: torch.dtype, device: torch.device, *, factor: bool = False) -> Tensor:
        """Return a buffer that nobody else has taken in this step, with whatever is in it.

        factor: its slices, of a shape (S, m, n), are factors of products; see :func:`apart`.
        """
        key = (tuple(shape), dtype, device, factor)
        kept, number = self._kept.setdefault(key, []), self._taken.get(key, 0)
        self._taken[key] = number + 1
        if number == len(kept):
            kept.append((_empty_apart if factor else torch.empty)(tuple(shape), dtype=dtype, device=device))
        return kept[number]

    def add(self, like: Tensor, left: Tensor, right: Callable[[int], Tensor]) -> Tensor | None:
        """Add leftᵀ right to the gradient of the first layer's weights, or return it if autograd is to add it.

        left: (S, B, K). right: the (B, P) of one seed; it may be lost when the next seed's is asked for.
        """
        given = _empty_apart(like.shape, like.dtype, like.device) if self._first is None else self._first
        again = self._first is not None and self._begun
        left = apart(left)
        for s, own in enumerate(given):
            if again:
                own.addmm_(left[s].mT, right(s))
            else:
                torch.mm(left[s].mT, right(s), out=own)
        self._begun = True
        return given if self._first is None else None

    def add_columns(self, like: Tensor, columns: Tensor, pixels: Tensor) -> Tensor | None:
        """Add *columns* (S, K, k) to the columns *pixels* of that gradient, or return it if autograd is to add it."""
        if self._first is None:
            return torch.zeros_like(like).index_add_(-1, pixels, columns)
        if not self._begun:
            self._first.zero_()
            self._begun = True
        self._first.index_add_(-1, pixels, columns)
        return None


class _First(torch.autograd.Function):
    """ReLU(x Wᵀ + b) of pixels x, of any type, in units of 1/scale; and which units are on, as 1 and 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, b: Tensor, scale: float, work: Work) -> tuple[Tensor, Tensor]:
        ctx.buffer = work.take(x.shape[1:], W.dtype, W.device)
        ctx.x, ctx.scale, ctx.work = x, scale, work
        h = _empty_apart((*x.shape[:2], W.shape[1]), W.dtype, W.device)
        for s, own in enumerate(h):
            # Pixels are kept as bytes and converted again in the backward pass: that takes less time than to fetch
            # four times as much from memory.
            torch.addmm(b[s], ctx.buffer.copy_(x[s]), W[s].mT, alpha=scale, out=own)
        h.relu_()
        gate = h.sign()
        ctx.save_for_backward(gate, W)
        ctx.mark_non_differentiable(gate)
        return h, gate

    @staticmethod
    @_once
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[None, Tensor | None, Tensor, None, None]:
        gate, W = ctx.saved_tensors
        g = g * gate
        b = g.sum(-2)
        return None, ctx.work.add(W, g.mul_(ctx.scale), lambda s: ctx.buffer.copy_(ctx.x[s])), b, None, None


class _Hidden(torch.autograd.Function):
    """ReLU(x Wᵀ + b), and which units are on, as 1 and 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        x, W = apart(x), apart(W)
        h = _affine(x, W, b).relu_()
        gate = h.sign()
        ctx.save_for_backward(x, W, gate)
        ctx.mark_non_differentiable(gate)
        return h, gate

    @staticmethod
    @_once
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, W, gate = ctx.saved_tensors
        g = apart(g * gate)
        return _times(g, W), _times(g.mT, x), g.sum(-2)


class _Last(torch.autograd.Function):
    """x Wᵀ + b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, b: Tensor) -> Tensor:
        x, W = apart(x), apart(W)
        ctx.save_for_backward(x, W)
        return _affine(x, W, b)

    @staticmethod
    @_once
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, W = ctx.saved_tensors
        g = apart(g)
        return _times(g, W), _times(g.mT, x), g.sum(-2)


def layers(
    x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], scale: float, work: Work
) -> tuple[Tensor, list[Tensor]]:
    """Return the logits (S, B, classes) for pixels x (S, B, P), and which hidden units are on, as 1 and 0."""
    call: Any = _First.apply
    h, gate = call(x, weights[0], biases[0], scale, work)
    gates = [gate]
    call = _Hidden.apply
    for W, b in zip(weights[1:-1], biases[1:-1], strict=True):
        h, gate = call(h, W, b)
        gates.append(gate)
    call = _Last.apply
    return call(h, weights[-1], biases[-1]), gates


class _CrossEntropy(torch.autograd.Function):
    """−log p(label); a softmax over ten classes takes torch five times as long, which works row by row."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        shifted = logits - logits.amax(-1, keepdim=True)
        # Below, a probability would be no normal number, with which exp takes a hundred times as long.
        p = shifted.clamp_min(-87.0).exp_()
        total = p.sum(-1, keepdim=True)
        ctx.save_for_backward(p.div_(total), labels)
        return total.log_().sub_(shifted.gather(-1, labels.unsqueeze(-1))).squeeze(-1)

    @staticmethod
    @_once
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        p, labels = ctx.saved_tensors
        g = g.unsqueeze(-1)
        return (p * g).scatter_add_(-1, labels.unsqueeze(-1), -g), None


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return −log p(label), (S, B), for logits (S, B, classes)."""
    return cast("Tensor", _CrossEntropy.apply(logits, labels))


class _Softmax(torch.autograd.Function):
    """The softmax over the last dimension; see :class:`_CrossEntropy`."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        p = (logits - logits.amax(-1, keepdim=True)).clamp_min_(-87.0).exp_()
        p.div_(p.sum(-1, keepdim=True))
        ctx.save_for_backward(p)
        return p

    @staticmethod
    @_once
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (p,) = ctx.saved_tensors
        g = g * p
        return cast("Tensor", g - p * g.sum(-1, keepdim=True))


def softmax(logits: Tensor) -> Tensor:
    """Return the probabilities (…, classes); none is less than 1e-38."""
    return cast("Tensor", _Softmax.apply(logits))


class _Pixels(torch.autograd.Function):
    """The columns *pixels* of u W."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, W: Tensor, pixels: Tensor, work: Work) -> Tensor:
        u, columns = apart(u), apart(W.index_select(-1, pixels))
        ctx.save_for_backward(u, W, columns, pixels)
        ctx.work = work
        return _times(u, columns)

    @staticmethod
    @_once
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        u, W, columns, pixels = ctx.saved_tensors
        g = apart(g)
        return _times(g, columns.mT), ctx.work.add_columns(W, _times(u.mT, g), pixels), None, None


class _PeakSum(torch.autograd.Function):
    """Σ_p w |G| / max |G|. The peak's gradient goes to the first pixel that has it."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, W: Tensor, weight: Tensor, work: Work) -> tuple[Tensor, Tensor]:
        (S, B, _), P = u.shape, W.shape[-1]
        D, M = work.take((S, B, P), u.dtype, u.device, factor=True), work.take((B, P), u.dtype, u.device)
        u, W = apart(u), apart(W)
        value, divisor = torch.empty_like(u[..., 0]), torch.empty_like(u[..., 0])
        V = _empty_apart(u.shape, u.dtype, u.device)
        dead = torch.empty_like(value, dtype=torch.bool)
        for s in range(S):
            G = torch.mm(u[s], W[s], out=D[s])
            peak, where = torch.abs(G, out=M).max(-1, keepdim=True)
            torch.le(peak.squeeze(-1), 0, out=dead[s])
            divisor[s] = peak.squeeze(-1).masked_fill(dead[s], torch.inf)  # by infinity, a dead map is exactly zero
            sign_there = G.gather(-1, where).sign_()
            # w |G| = (w sign G) G, and the first factor is what D begins with.
            value[s] = torch.sum(M.mul_(weight[s]), -1) / divisor[s]
            G.sign_().mul_(weight[s]).scatter_add_(-1, where, -sign_there * value[s].unsqueeze(-1))
            torch.mm(G, W[s].mT, out=V[s])
        return _finish(ctx, D, V, u, W, divisor, work, value, dead)

    @staticmethod
    @_once
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        return *_gradients(ctx, g), None, None


def _finish(
    ctx: Any, D: Tensor, V: Tensor, u: Tensor, W: Tensor, divisor: Tensor, work: Work, value: Tensor, dead: Tensor
) -> tuple[Tensor, Tensor]:
    ctx.save_for_backward(u, W, V, divisor)
    ctx.D, ctx.work = D, work
    ctx.mark_non_differentiable(dead)
    return value, dead


def _gradients(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return the gradients with respect to u and W, if that with respect to G = u W is g / divisor · D."""
    u, W, V, divisor = ctx.saved_tensors
    scale = (g / divisor).unsqueeze(-1)
    return V * scale, ctx.work.add(W, u * scale, lambda s: ctx.D[s])


def peak_sum(u: Tensor, W: Tensor, weight: Tensor, work: Work) -> tuple[Tensor, Tensor]:
    """Return Σ_p weight · |u W| / max_p |u W|, (S, B), zero for a dead map, and which maps are dead."""
    call: Any = _PeakSum.apply
    return cast("tuple[Tensor, Tensor]", call(u, W, weight, work))


class _Share(torch.autograd.Function):
    """Σ_p a |G| / Σ_p |G|."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, W: Tensor, part: Tensor, work: Work) -> tuple[Tensor, Tensor]:
        (S, B, _), P = u.shape, W.shape[-1]
        D, M = work.take((S, B, P), u.dtype, u.device, factor=True), work.take((B, P), u.dtype, u.device)
        u, W = apart(u), apart(W)
        value, divisor = torch.empty_like(u[..., 0]), torch.empty_like(u[..., 0])
        V = _empty_apart(u.shape, u.dtype, u.device)
        dead = torch.empty_like(value, dtype=torch.bool)
        for s in range(S):
            G = torch.mm(u[s], W[s], out=D[s])
            total = torch.abs(G, out=M).sum(-1)
            torch.le(total, 0, out=dead[s])
            divisor[s] = total.masked_fill(dead[s], torch.inf)
            value[s] = M.mul_(part[s]).sum(-1) / divisor[s]
            G.sign_().mul_(torch.sub(part[s], value[s].unsqueeze(-1), out=M))
            torch.mm(G, W[s].mT, out=V[s])
        return _finish(ctx, D, V, u, W, divisor, work, value, dead)

    @staticmethod
    @_once
    def backward(ctx: Any, g: Tensor, _: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        return *_gradients(ctx, g), None, None


def share_of(u: Tensor, W: Tensor, part: Tensor, work: Work) -> tuple[Tensor, Tensor]:
    """Return Σ_p part · |u W| / Σ_p |u W|, (S, B), zero for a dead map, and which maps are dead."""
    call: Any = _Share.apply
    return cast("tuple[Tensor, Tensor]", call(u, W, part, work))


def pixels_of(u: Tensor, W: Tensor, pixels: Tensor, work: Work) -> Tensor:
    """Return the columns *pixels*, int64 (k,) without repetition, of u W: (S, B, k)."""
    call: Any = _Pixels.apply
    return cast("Tensor", call(u, W, pixels, work))
