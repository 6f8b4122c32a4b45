"""Leaderboards: tables from records. A pure function of what is in the store; never imports torch."""
