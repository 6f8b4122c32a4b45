"""The Method interface: take the original model, buy feedback, return a refined model.

To add a method, subclass :class:`Method`, set the class attributes and write ``refine(job)``. Usually it asks
(``job.oracle``), turns answers into tensors, and calls ``job.fit(penalty=…, feedback=…)``. A method that needs more
owns its loop: ``job.model`` is a copy that may be changed at will. The :class:`Job` is all that a method is given.

Declare honestly: ``asks`` (a kind of feedback that is not declared is refused), ``needs_feature_maps`` (a model without
them makes the method "not applicable", with a reason, instead of failing) and ``version`` (raise it when the same
parameters lead to another result: it is part of every run's key).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from crayon_bench.feedback import FeedbackKind
from crayon_bench.parameters import Parameters as AnyParameters
from crayon_bench.seeds import derive_seed

if TYPE_CHECKING:
    from torch import Tensor, nn

    from crayon_bench.dataset import Dataset
    from crayon_bench.ledger.metered import MeteredOracle
    from crayon_bench.networks.classifier import Classifier
    from crayon_bench.networks.neurons import Neurons
    from crayon_bench.networks.specification import ModelSpec, Recipe
    from crayon_bench.networks.training import Penalty


@dataclass(frozen=True)
class Setting:
    """What is known about a run before anything is loaded; :meth:`Method.skip` decides on it.

    unable: kind of feedback → why oracle and data set cannot give it. parameters: the method's.
    """

    dataset: "type[Dataset]"
    model: "ModelSpec"
    unable: Mapping[FeedbackKind, str]
    parameters: AnyParameters = field(default_factory=AnyParameters)


@dataclass
class Job:
    """What a method is given for one run.

    model: the copy of the original model to refine. original: the original model, frozen, in eval mode.
    images: uint8 (N, C, H, W), 0–255, this run's own copy; on :attr:`device` if they fit there, else on the CPU.
    labels: int64 (N,), on :attr:`device`.
    classes: number of classes. oracle: answers questions and counts them; examples are positions 0 … N−1 in *images*.
    recipe: epochs, batch, lr … of this method, which :meth:`fit` and :meth:`fit_head` obey; a loop of your own must too
    (``optimizer``, ``reduction``). parameters: an instance of its ``Parameters``.
    device: where the model is. report: ``report(text)`` writes a line to the run's log.
    warnings: what went wrong how often, such as ``{"dead maps": 3}``; it stands in the record and under tables.
    """

    model: "Classifier"
    original: "Classifier"
    images: "Tensor"
    labels: "Tensor"
    classes: int
    oracle: "MeteredOracle"
    recipe: "Recipe"
    parameters: AnyParameters
    device: str
    report: Callable[[str], None]
    base_seed: int
    on_epoch: Callable[[int, int, float], None]
    share: "Callable[[str, Callable[[], dict[str, Tensor]]], dict[str, Tensor]]"
    select: "Callable[[nn.Module], float] | None" = None
    warnings: dict[str, int] = field(default_factory=dict)
    _dead: "Tensor | None" = None

    def seed(self, axis: str) -> int:
        """Return the seed of an axis of randomness; the same for every method, so that methods are paired."""
        return derive_seed(self.base_seed, axis)

    def fit(self, penalty: "Penalty | None" = None, feedback: "Mapping[str, Tensor] | None" = None) -> "Classifier":
        """Train :attr:`model` by :attr:`recipe` on cross-entropy plus *penalty*, and return it.

        penalty: ``penalty(forward, batch)`` → (B,), one term per example of the batch; see
        :mod:`crayon_bench.networks.training`. feedback: tensors (N, …) whose rows of the batch the penalty finds as
        ``batch["name"]``.
        """
        from crayon_bench.networks.training import fit

        fit(
            self.model,
            self.images,
            self.labels,
            self.recipe,
            order_seed=self.seed("order"),
            penalty=penalty,
            feedback=feedback,
            on_epoch=self.on_epoch,
            select=self.select,
        )
        if self._dead is not None and (dead := int(self._dead)):
            self.warn("dead maps in training", dead)
        self._dead = None
        return self.model

    def fit_head(self, pooled: "Tensor") -> "Classifier":
        """Train the last layer of :attr:`model` alone, on pooled features of the training images, float32 (N, K).

        By :attr:`recipe`, like :meth:`fit`. Pruned channels count as zero. The body stays as it is. Only for
        convolutional networks.
        """
        from crayon_bench.networks.convnets import ConvNet, Head
        from crayon_bench.networks.training import fit

        if not isinstance(self.model, ConvNet):
            raise TypeError("fit_head needs a convolutional network")
        model, select = self.model, self.select
        features = pooled.to(self.device) * model.kept
        fit(
            Head(model.head),
            features,
            self.labels,
            self.recipe,
            order_seed=self.seed("order"),
            on_epoch=self.on_epoch,
            select=None if select is None else lambda _: select(model),
        )
        model.eval()
        return model

    def neurons(self, k: int) -> "Neurons":
        """Return the k strongest images of every channel of the original model, and the pooled features of all images.

        Computed in one pass and kept in the store; see :mod:`crayon_bench.networks.neurons`. Only for convolutional
        networks.
        """
        from crayon_bench.networks.convnets import ConvNet
        from crayon_bench.networks.neurons import Neurons, find_neurons

        original = self.original
        if not isinstance(original, ConvNet):
            raise TypeError("neurons needs a convolutional network")
        made = self.shared(f"neurons-{k}", lambda: find_neurons(original, self.images, k, self.device).to_tensors())
        neurons = Neurons.from_tensors(made)
        if tied := int(neurons.tied.sum()):
            what = "patches of neurons chosen among equally strong ones, by the mean activation"
            self.warnings[what] = tied  # however often they are looked at
        return neurons

    @property
    def has_feature_maps(self) -> bool:
        """Whether the model is a convolutional network, whose maps are coarser than the image."""
        from crayon_bench.networks.convnets import ConvNet

        return isinstance(self.model, ConvNet)

    def count_dead(self, dead: "Tensor") -> None:
        """Count the dead maps of a step, bool (B,); for a penalty. The sum is read once, when :meth:`fit` ends."""
        self._dead = dead.sum() if self._dead is None else self._dead + dead.sum()

    def shared(self, name: str, make: "Callable[[], dict[str, Tensor]]") -> "dict[str, Tensor]":
        """Return tensors that depend on the original model, its data and *name* alone, made once and kept in the store.

        The first method that needs them makes them; other methods, and later runs, read them. Put into *name*
        whatever else they depend on, such as ``"patches-20"``. Tensors are on the CPU.
        """
        return self.share(name, make)

    def original_maps(self) -> "Tensor":
        """Return M, the saliency maps of the true label's logit under the original model.

        float32 (N, H, W), each divided by its maximum; a map that is nowhere positive is all zeros and is counted in
        :attr:`warnings`.
        """
        maps = self._maps()
        if dead := int((maps.amax((-2, -1)) <= 0).sum()):
            self.warn("dead maps of the original model", dead)
        return maps

    def _maps(self) -> "Tensor":
        from crayon_bench.networks.saliency import saliency_maps

        def make() -> "dict[str, Tensor]":
            maps, _ = saliency_maps(self.original, self.images, self.labels)
            return {"maps": maps}

        kind = "contrast" if getattr(self.original, "contrasted", False) else "logit"
        # Small on a grid, and expensive to make; those of an MLP are as large as the images, and cheap.
        return self.shared(f"maps of {kind}", make)["maps"].to(self.device) if self.has_feature_maps else make()["maps"]

    def warn(self, what: str, times: int = 1) -> None:
        """Count a warning; the record keeps the count and tables show it."""
        self.warnings[what] = self.warnings.get(what, 0) + times


class Method(ABC):
    """Base class of methods. See the module's docstring for what to write."""

    name: ClassVar[str]
    """As in ``--methods``."""
    title: ClassVar[str]
    """As in a table's first column."""
    summary: ClassVar[str]
    """One sentence for ``plugins list``."""
    source: ClassVar[str] = ""
    """The paper."""
    version: ClassVar[int] = 1
    asks: ClassVar[tuple[FeedbackKind, ...]] = ()
    """Kinds of feedback that it may ask for, in the order of its Feedback column."""
    needs_feature_maps: ClassVar[bool] = False
    """True if it works on the channels of a convolutional network."""
    trains: ClassVar[bool] = True
    """False if the protocol's ``[refine]`` recipe does not concern it."""
    control: ClassVar[bool] = False
    """True for a control that needs to know how much another method does: it may ask for tallies, which are not
    counted as feedback but named in the record."""
    baseline: ClassVar[bool] = False
    """True for what is compared with, not a mitigation: its Feedback column shows ``-``."""
    Parameters: ClassVar[type[AnyParameters]] = AnyParameters

    def skip(self, setting: Setting) -> str | None:
        """Return why this method does not apply to *setting*, or None if it does. Extend with ``super().skip()``."""
        if self.needs_feature_maps and not setting.model.has_feature_maps:
            return f"it works on convolutional feature maps, and {setting.model.title} has none"
        for kind in self.questions(setting.parameters):
            if reason := setting.unable.get(kind):
                return reason
        return None

    def questions(self, parameters: AnyParameters) -> tuple[FeedbackKind, ...]:
        """Return the kinds of feedback that it may ask for with these *parameters*; by default :attr:`asks`."""
        return self.asks

    @abstractmethod
    def refine(self, job: Job) -> "Classifier":
        """Return the refined model (``job.model``, changed, or another one)."""
