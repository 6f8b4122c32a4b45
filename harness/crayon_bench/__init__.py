"""crayon-bench: compare methods that repair shortcut learning, and count the human feedback each one used.

Everything that a script or the author of a plugin needs can be imported from here, and ``dir(crayon_bench)`` lists it.
Names are looked up on first use, because ``crayon-bench --help`` must not wait for numpy, pydantic or torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crayon_bench._version import __version__

if TYPE_CHECKING:
    from crayon_bench.api import Leaderboard, Results, list_datasets, list_methods, list_protocols, load_results, run
    from crayon_bench.dataset import DataFile, Dataset, Evidence, Found, LoadedData, Pretrained, Source, Split
    from crayon_bench.errors import GuardError, MetricError, TrainingError, UserError
    from crayon_bench.executor import Answer, Executor, Perform, answer
    from crayon_bench.feedback import FeedbackKind, Verdict
    from crayon_bench.ledger.metered import MeteredOracle
    from crayon_bench.method import Job, Method, Setting
    from crayon_bench.metric import Direction, Metric, Predictions
    from crayon_bench.networks.classifier import Classifier, Forward
    from crayon_bench.networks.convnets import ConvNet
    from crayon_bench.networks.exported import load_model
    from crayon_bench.networks.grids import ask_masks, blur, boxes_to_grid, to_grid, upsampling
    from crayon_bench.networks.maps import max_normalise, min_max_normalise
    from crayon_bench.networks.mlp import MLP
    from crayon_bench.networks.neurons import Neurons
    from crayon_bench.networks.specification import CNNSpec, MLPSpec, ModelSpec, Recipe
    from crayon_bench.networks.training import Batch, Penalty, cross_entropy, predict
    from crayon_bench.oracle import Boxes, FeedbackOracle, Groups, Masks, Patches, Situation, Verdicts
    from crayon_bench.parameters import Parameters
    from crayon_bench.plugins.hookspecs import hookimpl
    from crayon_bench.seeds import derive_seed
    from crayon_bench.store.records import Record, Status
    from crayon_bench.store.request import RunRequest
    from crayon_bench.strategy import Pool, QueryStrategy

_HOME = {
    "Answer": "executor",
    "Batch": "networks.training",
    "Boxes": "oracle",
    "CNNSpec": "networks.specification",
    "Classifier": "networks.classifier",
    "ConvNet": "networks.convnets",
    "DataFile": "dataset",
    "Dataset": "dataset",
    "Direction": "metric",
    "Evidence": "dataset",
    "Executor": "executor",
    "FeedbackKind": "feedback",
    "FeedbackOracle": "oracle",
    "Forward": "networks.classifier",
    "Found": "dataset",
    "Groups": "oracle",
    "GuardError": "errors",
    "Job": "method",
    "Leaderboard": "api",
    "LoadedData": "dataset",
    "MLP": "networks.mlp",
    "MLPSpec": "networks.specification",
    "Masks": "oracle",
    "MeteredOracle": "ledger.metered",
    "Method": "method",
    "Metric": "metric",
    "MetricError": "errors",
    "ModelSpec": "networks.specification",
    "Neurons": "networks.neurons",
    "Parameters": "parameters",
    "Patches": "oracle",
    "Penalty": "networks.training",
    "Perform": "executor",
    "Pool": "strategy",
    "Predictions": "metric",
    "Pretrained": "dataset",
    "QueryStrategy": "strategy",
    "Recipe": "networks.specification",
    "Record": "store.records",
    "Results": "api",
    "RunRequest": "store.request",
    "Setting": "method",
    "Situation": "oracle",
    "Source": "dataset",
    "Split": "dataset",
    "Status": "store.records",
    "TrainingError": "errors",
    "UserError": "errors",
    "Verdict": "feedback",
    "Verdicts": "oracle",
    "answer": "executor",
    "ask_masks": "networks.grids",
    "blur": "networks.grids",
    "boxes_to_grid": "networks.grids",
    "cross_entropy": "networks.training",
    "derive_seed": "seeds",
    "hookimpl": "plugins.hookspecs",
    "list_datasets": "api",
    "list_methods": "api",
    "list_protocols": "api",
    "load_model": "networks.exported",
    "load_results": "api",
    "max_normalise": "networks.maps",
    "min_max_normalise": "networks.maps",
    "predict": "networks.training",
    "run": "api",
    "to_grid": "networks.grids",
    "upsampling": "networks.grids",
}

__all__ = [
    "MLP",
    "Answer",
    "Batch",
    "Boxes",
    "CNNSpec",
    "Classifier",
    "ConvNet",
    "DataFile",
    "Dataset",
    "Direction",
    "Evidence",
    "Executor",
    "FeedbackKind",
    "FeedbackOracle",
    "Forward",
    "Found",
    "Groups",
    "GuardError",
    "Job",
    "Leaderboard",
    "LoadedData",
    "MLPSpec",
    "Masks",
    "MeteredOracle",
    "Method",
    "Metric",
    "MetricError",
    "ModelSpec",
    "Neurons",
    "Parameters",
    "Patches",
    "Penalty",
    "Perform",
    "Pool",
    "Predictions",
    "Pretrained",
    "QueryStrategy",
    "Recipe",
    "Record",
    "Results",
    "RunRequest",
    "Setting",
    "Situation",
    "Source",
    "Split",
    "Status",
    "TrainingError",
    "UserError",
    "Verdict",
    "Verdicts",
    "__version__",
    "answer",
    "ask_masks",
    "blur",
    "boxes_to_grid",
    "cross_entropy",
    "derive_seed",
    "hookimpl",
    "list_datasets",
    "list_methods",
    "list_protocols",
    "load_model",
    "load_results",
    "max_normalise",
    "min_max_normalise",
    "predict",
    "run",
    "to_grid",
    "upsampling",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"crayon_bench.{_HOME[name]}"), name)
    raise AttributeError(f"module 'crayon_bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
