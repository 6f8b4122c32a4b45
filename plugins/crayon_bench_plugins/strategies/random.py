"""The random strategy: questions in random order."""

import numpy as np

from crayon_bench import Pool, QueryStrategy
from crayon_bench.strategy import Ints


class RandomStrategy(QueryStrategy):
    """Every image is as likely as every other to be asked about."""

    name = "random"
    title = "random"
    summary = "questions in random order"
    about_images = False

    def rank(self, pool: Pool) -> Ints:
        """Shuffle the pool."""
        return np.random.default_rng(self.seed).permutation(len(pool)).astype(np.int64)
