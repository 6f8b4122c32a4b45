"""crayon-bench: compare methods that repair shortcut learning, and count the human feedback each one used.

The names that a plugin author needs can be imported from here; they are looked up on first use, because
``crayon-bench --help`` must not wait for numpy, pydantic or torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crayon_bench.dataset import Dataset, Evidence, Found, LoadedData, Source, Split
    from crayon_bench.errors import GuardError, UserError
    from crayon_bench.executor import Executor
    from crayon_bench.exported import load_model
    from crayon_bench.feedback import FeedbackKind, Verdict
    from crayon_bench.hookspecs import hookimpl
    from crayon_bench.method import Job, Method, Setting
    from crayon_bench.metric import Metric, Predictions
    from crayon_bench.oracle import FeedbackOracle
    from crayon_bench.parameters import Parameters
    from crayon_bench.strategy import QueryStrategy

__version__ = "0.1.0"

_HOME = {
    "Dataset": "dataset",
    "Evidence": "dataset",
    "Executor": "executor",
    "FeedbackKind": "feedback",
    "FeedbackOracle": "oracle",
    "Found": "dataset",
    "GuardError": "errors",
    "Job": "method",
    "LoadedData": "dataset",
    "Method": "method",
    "Metric": "metric",
    "Parameters": "parameters",
    "Predictions": "metric",
    "QueryStrategy": "strategy",
    "Setting": "method",
    "Source": "dataset",
    "Split": "dataset",
    "UserError": "errors",
    "Verdict": "feedback",
    "hookimpl": "hookspecs",
    "load_model": "exported",
}

__all__ = [
    "Dataset",
    "Evidence",
    "Executor",
    "FeedbackKind",
    "FeedbackOracle",
    "Found",
    "GuardError",
    "Job",
    "LoadedData",
    "Method",
    "Metric",
    "Parameters",
    "Predictions",
    "QueryStrategy",
    "Setting",
    "Source",
    "Split",
    "UserError",
    "Verdict",
    "__version__",
    "hookimpl",
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"crayon_bench.{_HOME[name]}"), name)
    raise AttributeError(f"module 'crayon_bench' has no attribute {name!r}")
