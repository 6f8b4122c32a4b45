"""Original: the model before any mitigation."""

from crayon_bench import Classifier, Job, Method


class Original(Method):
    """The model that was trained on the biased data, as it is (CRAYON paper, §4.2)."""

    name = "original"
    title = "Original"
    summary = "the model before any mitigation"
    source = "CRAYON paper, §4.2"
    trains = False
    baseline = True

    def refine(self, job: Job) -> Classifier:
        """Return the original model unchanged."""
        return job.model
