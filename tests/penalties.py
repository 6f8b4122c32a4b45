"""What methods hand to ``job.fit``, caught: their real penalties without a run around them."""

import numpy as np
from torch import Tensor

from crayon_bench.method import Job
from crayon_bench.networks.convnets import ConvNet
from crayon_bench.networks.specification import Recipe
from crayon_bench.oracle import Boxes, Masks, Verdicts
from crayon_bench.plugins.registry import Kind, Registry


class Answers:
    """An oracle with fixed answers. neurons: verdicts by channel."""

    def __init__(self, verdicts=None, relevant=None, boxes=None, answered=None, neurons=None):
        self.verdicts, self.relevant, self.box, self.answered, self.neurons = (
            verdicts, relevant, boxes, answered, neurons
        )  # fmt: skip

    def chosen(self, kind, examples):
        return examples

    def able(self, kind, examples):
        return examples

    def reserve(self, kind, number):
        pass

    def judge_maps(self, examples, maps):
        return Verdicts(self.verdicts)

    def judge_neurons(self, patches):
        return Verdicts(self.neurons[patches.neurons])

    def relevant_masks(self, examples):
        return Masks(self.relevant[examples], self.answered[examples])

    def irrelevant_masks(self, examples):
        return Masks(~self.relevant[examples] & self.answered[examples, None, None], self.answered[examples])

    def boxes(self, examples):
        return Boxes(self.box[examples], self.answered[examples])


def capture(method: str, parameters: dict, original: ConvNet, images: Tensor, labels: Tensor, oracle, model=None):
    """Return what a method hands to ``job.fit``, and the job."""
    cls = Registry().load(Kind.METHOD, method)
    seen = {}

    class Spy(Job):
        def fit(self, penalty=None, feedback=None):
            seen.update(penalty=penalty, feedback=feedback or {})
            return self.model

    job = Spy(
        model=model or original, original=original, images=images, labels=labels, classes=original.head.out_features,
        oracle=oracle, recipe=Recipe(epochs=1, batch=4, lr=0.1), parameters=cls.Parameters(**parameters), device="cpu",
        report=print, base_seed=0, on_epoch=lambda *a: None, share=lambda name, make: make(),
    )  # fmt: skip
    cls().refine(job)
    return seen["penalty"], seen["feedback"], job


def evidence(seed: int, n: int, shape: tuple[int, int]):
    """A random rectangle on each image, and which are answered."""
    random = np.random.RandomState(seed)
    masks, boxes = np.zeros((n, *shape), bool), np.zeros((n, 4), np.int64)
    for i in range(n):
        top, left = random.randint(0, shape[0] - 6), random.randint(0, shape[1] - 6)
        bottom, right = random.randint(top + 4, shape[0] + 1), random.randint(left + 4, shape[1] + 1)
        masks[i, top:bottom, left:right] = True
        boxes[i] = top, left, bottom, right
    answered = np.ones(n, bool)
    answered[random.randint(n)] = False
    masks[~answered], boxes[~answered] = False, 0
    return masks, boxes, answered
