"""Seeds by axis: every source of randomness has its own, and none depends on the method, so that methods are paired."""

import hashlib


def derive_seed(base: int, axis: str) -> int:
    """Return the seed of *axis* (``"init"``, ``"order"``, ``"feedback"`` …) for a run's *base* seed, in [0, 2**63)."""
    digest = hashlib.sha256(f"crayon-bench/{base}/{axis}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
