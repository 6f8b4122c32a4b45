"""CRAYON-Pruning, its control and its combination with CRAYON-Attention (CRAYON paper, §3.3 and §4.2).

Registered with what they need and ask for, so that tables say why they do not apply to a network without channels.
"""

from crayon_bench.feedback import FeedbackKind
from crayon_bench_plugins.methods._pending import ConvolutionalMethod


class CrayonPruning(ConvolutionalMethod):
    """Prune the channels whose patches were judged irrelevant, then train the last layer."""

    name = "crayon-pruning"
    title = "CRAYON-Pruning"
    summary = "yes-no feedback on neurons; the irrelevant ones are pruned"
    source = "CRAYON paper, §3.3"
    asks = (FeedbackKind.NEURON_VERDICT,)


class RandomPruning(ConvolutionalMethod):
    """Prune as many channels as CRAYON-Pruning does, chosen at random: the control."""

    name = "random-pruning"
    title = "Random Pruning"
    summary = "as many neurons as CRAYON-Pruning, chosen at random"
    source = "CRAYON paper, §4.2"


class CrayonAttentionPruning(ConvolutionalMethod):
    """Mask the irrelevant channels in the forward pass and the map, then fine-tune as CRAYON-Attention does."""

    name = "crayon-attention-pruning"
    title = "CRAYON-Attention+Pruning"
    summary = "both kinds of yes-no feedback in tandem"
    source = "CRAYON paper, §5"
    asks = (FeedbackKind.MAP_VERDICT, FeedbackKind.NEURON_VERDICT)
