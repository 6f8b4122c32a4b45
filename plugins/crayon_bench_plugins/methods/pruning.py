"""CRAYON-Pruning, its control and its combination with CRAYON-Attention (CRAYON paper, §3.3 and §4.2)."""

import torch
from pydantic import Field
from torch import Tensor

from crayon_bench import Classifier, FeedbackKind, Job, Method, Parameters as AnyParameters, Verdict
from crayon_bench_plugins.methods.crayon_attention import CrayonAttentionParameters, steer, with_extra


class PatchParameters(AnyParameters):
    """How a neuron is shown."""

    patches: int = Field(default=20, ge=1, le=1000, description="number of image patches that show a neuron")
    radius: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="a patch holds the cells of the feature map at most this far from the strongest activation",
    )


class CrayonPruning(Method):
    """Prune the neurons whose patches were judged irrelevant, then train the last layer.

    Neurons are the channels of the last feature map A. Each is shown by the ``patches`` training images with the
    highest max_hw A_khw, cropped around that maximum. Channels judged irrelevant are set to zero; the last layer alone
    is trained on. As the body does not change, its pooled features GAP(A) are computed once, in eval mode, and the
    layer is trained on an N × K matrix.

    Departures: the later CRAYON code trains the last layer with the body in train mode, so that features are normalised
    by the batch and the running statistics drift; here the body is in eval mode and nothing of it moves. That code
    keeps neurons without an answer, as this does. The paper does not give the patches' size; here it is the cells at
    most ``radius`` away from the maximum, clipped to the image. Of images with equal maxima, as a ceiling like ReLU6's
    makes them, those with the higher mean activation are shown, and of equal cells the middle one; how many is a
    warning. A neuron that is active on no training image has no patches: it is not asked about, is pruned, and is
    counted as a warning. If no neuron is judged relevant, nothing is pruned, with a warning.
    """

    name = "crayon-pruning"
    title = "CRAYON-Pruning"
    summary = "yes-no feedback on neurons; the irrelevant ones are pruned"
    source = "CRAYON paper, §3.3"
    asks = (FeedbackKind.NEURON_VERDICT,)
    needs_feature_maps = True
    Parameters = PatchParameters

    def refine(self, job: Job) -> Classifier:
        """Ask about every neuron, prune, then train the last layer."""
        assert isinstance(job.parameters, PatchParameters)
        job.model.prune(irrelevant_neurons(job, job.parameters))  # type: ignore[operator]
        return job.fit_head(job.neurons(job.parameters.patches).pooled)


class RandomPruning(Method):
    """Prune as many neurons as CRAYON-Pruning does, chosen at random: the control (CRAYON paper, §4.2).

    How many that are it learns from the oracle, and nothing else: no answer is part of its #FB, and the record says
    that answers were lent.
    """

    name = "random-pruning"
    title = "Random Pruning"
    summary = "as many neurons as CRAYON-Pruning, chosen at random"
    source = "CRAYON paper, §4.2"
    version = 2
    needs_feature_maps = True
    control = True
    Parameters = PatchParameters

    def refine(self, job: Job) -> Classifier:
        """Learn how many neurons are irrelevant, prune as many, then train the last layer."""
        assert isinstance(job.parameters, PatchParameters)
        neurons = job.neurons(job.parameters.patches)
        height, width = job.images.shape[-2:]
        tally = job.oracle.tally_neurons(neurons.patches(height, width, job.parameters.radius))
        K = len(neurons.dead)
        number = tally["no"] + int(neurons.dead.sum())
        if number == K:  # CRAYON-Pruning then prunes nothing
            number = 0
        generator = torch.Generator().manual_seed(job.seed("pruning"))
        pruned = torch.zeros(K, dtype=torch.bool)
        pruned[torch.randperm(K, generator=generator)[:number]] = True
        job.report(f"pruned {number} of {K} neurons at random")
        job.model.prune(pruned)  # type: ignore[operator]
        return job.fit_head(neurons.pooled)


class AttentionPruningParameters(CrayonAttentionParameters, PatchParameters):
    """Those of both methods."""


class CrayonAttentionPruning(Method):
    """Prune the irrelevant neurons, then fine-tune all that is left as CRAYON-Attention does.

    The pruned channels are zero in the forward pass and in the map M′. Both kinds of feedback are about the original
    model, as it was before pruning.

    Departures: the paper names the combination and does not define it; this is the later CRAYON code's order. That code
    masks both the forward pass and the map on Waterbirds, and the forward pass alone on CelebA; here both, everywhere.
    """

    name = "crayon-attention-pruning"
    title = "CRAYON-Attention+Pruning"
    summary = "both kinds of yes-no feedback in tandem"
    source = "CRAYON paper, §5"
    version = 2
    asks = (FeedbackKind.MAP_VERDICT, FeedbackKind.NEURON_VERDICT)
    needs_feature_maps = True
    Parameters = AttentionPruningParameters

    def questions(self, parameters: AnyParameters) -> tuple[FeedbackKind, ...]:
        """Return both kinds of verdicts, and what ``extra`` asks for."""
        return with_extra(self.asks, parameters)

    def refine(self, job: Job) -> Classifier:
        """Ask about every neuron and every map, prune, then fine-tune."""
        assert isinstance(job.parameters, AttentionPruningParameters)
        job.model.prune(irrelevant_neurons(job, job.parameters))  # type: ignore[operator]
        return steer(job, job.parameters)


def irrelevant_neurons(job: Job, parameters: PatchParameters) -> Tensor:
    """Ask about every neuron of the original model; return which are to be pruned, bool (K,)."""
    neurons = job.neurons(parameters.patches)
    height, width = job.images.shape[-2:]
    patches = neurons.patches(height, width, parameters.radius)
    verdicts = torch.from_numpy(job.oracle.judge_neurons(patches).values)
    pruned = neurons.dead.clone()
    if dead := int(pruned.sum()):
        job.warn("neurons that no training image activates, pruned unasked", dead)
    pruned[torch.from_numpy(patches.neurons)[verdicts == Verdict.NO]] = True
    job.report(f"pruned {int(pruned.sum())} of {len(pruned)} neurons")
    if pruned.all():
        job.warn("no neuron was judged relevant: nothing was pruned")
        return torch.zeros_like(pruned)
    return pruned
