"""RES: robust explanation supervision (Gao, Sun, Bai, Gu, Hong and Liang 2022)."""

from crayon_bench.feedback import FeedbackKind
from crayon_bench_plugins.methods._pending import ConvolutionalMethod


class RES(ConvolutionalMethod):
    """Align thresholded maps with masks of relevant and irrelevant pixels."""

    name = "res"
    title = "RES"
    summary = "maps of relevant and irrelevant pixels, aligned with tolerance"
    source = "Gao et al. 2022 (RES)"
    asks = (FeedbackKind.RELEVANT_MASK, FeedbackKind.IRRELEVANT_MASK)
