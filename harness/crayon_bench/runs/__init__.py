"""Runs: from a wish to records."""
