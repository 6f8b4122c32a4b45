"""The balanced strategy: as many questions about each predicted class."""

import numpy as np

from crayon_bench import Pool, QueryStrategy
from crayon_bench.strategy import Ints


class BalancedStrategy(QueryStrategy):
    """One image of each predicted class in turn, in random order within a class, until a class has no more."""

    name = "balanced"
    title = "balanced"
    summary = "as many questions about each class that the original model predicts"

    def rank(self, pool: Pool) -> Ints:
        """Order by the place within the predicted class, then by class."""
        order = np.random.default_rng(self.seed).permutation(len(pool))
        predicted = pool.predicted[order]
        place = np.zeros(len(pool), dtype=np.int64)
        for c in np.unique(predicted):
            of_class = predicted == c
            place[of_class] = np.arange(of_class.sum())
        return np.asarray(order[np.lexsort((predicted, place))], dtype=np.int64)
