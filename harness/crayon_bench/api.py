"""To be written."""

from typing import Any

Leaderboard = Results = list_datasets = list_methods = list_protocols = load_results = run = Any
