"""GradIA: interactive attention alignment (Gao, Sun, Zhao and Hong 2022)."""

from crayon_bench.feedback import FeedbackKind
from crayon_bench_plugins.methods._pending import ConvolutionalMethod


class GradIA(ConvolutionalMethod):
    """Ask about every map; where the model looks at the wrong place or errs, ask for a map of what is relevant."""

    name = "gradia"
    title = "GradIA"
    summary = "yes-no feedback on maps, and maps of relevant pixels where the model errs"
    source = "Gao et al. 2022 (GRADIA)"
    asks = (FeedbackKind.MAP_VERDICT, FeedbackKind.RELEVANT_MASK)
    # |input gradient| maps would do as well as Grad-CAM; what is missing first are the masks.
    needs_feature_maps = False
