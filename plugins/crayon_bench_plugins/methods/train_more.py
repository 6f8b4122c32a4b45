"""Train More: the fine-tuning recipe without any feedback."""

from crayon_bench import Classifier, Job, Method


class TrainMore(Method):
    """Fine-tune on cross-entropy alone, to show what further training does by itself (CRAYON paper, §4.2)."""

    name = "train-more"
    title = "Train More"
    summary = "the fine-tuning recipe without feedback"
    source = "CRAYON paper, §4.2"

    def refine(self, job: Job) -> Classifier:
        """Train further."""
        return job.fit()
