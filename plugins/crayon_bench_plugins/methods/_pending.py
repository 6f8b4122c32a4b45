"""What the methods have in common that work on convolutional feature maps, which no built-in data set uses yet."""

from crayon_bench.method import Job, Method, Setting
from crayon_bench.models import Classifier


class ConvolutionalMethod(Method):
    """A method that needs feature maps. This version trains MLPs only and says so for every other network."""

    needs_feature_maps = True
    version = 0  # so that "does not apply" in a store never stands for the method itself, which begins at 1

    def skip(self, setting: Setting) -> str | None:
        """Say why it does not apply: first what the data set lacks, then what the network lacks."""
        return super().skip(setting) or f"{self.title} is not in this version of crayon-bench yet"

    def refine(self, job: Job) -> Classifier:
        """Never called: :meth:`skip` always gives a reason."""
        raise RuntimeError(f"{self.title} is not in this version of crayon-bench yet")
