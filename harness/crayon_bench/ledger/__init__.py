"""The ledger: the metered oracle, and what a budget allows."""
