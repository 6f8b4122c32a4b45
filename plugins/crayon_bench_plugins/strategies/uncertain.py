"""The uncertain strategy: margin sampling."""

import numpy as np

from crayon_bench import Pool, QueryStrategy
from crayon_bench.strategy import Ints


class UncertainStrategy(QueryStrategy):
    """Images between whose two most probable classes the original model decides least clearly come first.

    Margin sampling (Scheffer, Decomain and Wrobel 2001). Equal margins are in random order.
    """

    name = "uncertain"
    title = "uncertain"
    summary = "images with the smallest margin between the two most probable classes first"

    def rank(self, pool: Pool) -> Ints:
        """Order by margin."""
        ties = np.random.default_rng(self.seed).permutation(len(pool))
        return np.asarray(np.lexsort((ties, pool.margins)), dtype=np.int64)
