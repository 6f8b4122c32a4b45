"""crayon-bench: compare methods that repair shortcut learning, and count the human feedback each one used.

Everything that a script or the author of a plugin needs can be imported from here, and ``dir(crayon_bench)`` lists it.
Names are looked up on first use, because ``crayon-bench --help`` must not wait for numpy, pydantic or torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from crayon_bench._version import __version__ as __version__

if TYPE_CHECKING:
    from crayon_bench.api import (
        Leaderboard as Leaderboard,
        Results as Results,
        list_datasets as list_datasets,
        list_methods as list_methods,
        list_protocols as list_protocols,
        load_results as load_results,
        run as run,
    )
    from crayon_bench.dataset import (
        DataFile as DataFile,
        Dataset as Dataset,
        Evidence as Evidence,
        Found as Found,
        LoadedData as LoadedData,
        Pretrained as Pretrained,
        Source as Source,
        Split as Split,
    )
    from crayon_bench.errors import (
        GuardError as GuardError,
        MetricError as MetricError,
        StoreError as StoreError,
        TrainingError as TrainingError,
        UserError as UserError,
    )
    from crayon_bench.executor import Answer as Answer, Executor as Executor, Perform as Perform, answer as answer
    from crayon_bench.feedback import FeedbackKind as FeedbackKind, Verdict as Verdict
    from crayon_bench.ledger.metered import MeteredOracle as MeteredOracle
    from crayon_bench.method import Job as Job, Method as Method, Setting as Setting
    from crayon_bench.metric import (
        Attention as Attention,
        Direction as Direction,
        Metric as Metric,
        Predictions as Predictions,
    )
    from crayon_bench.networks.classifier import Classifier as Classifier, Forward as Forward
    from crayon_bench.networks.convnets import ConvNet as ConvNet
    from crayon_bench.networks.exported import load_model as load_model
    from crayon_bench.networks.grids import (
        ask_masks as ask_masks,
        blur as blur,
        boxes_to_grid as boxes_to_grid,
        to_grid as to_grid,
        upsampling as upsampling,
    )
    from crayon_bench.networks.maps import max_normalise as max_normalise, min_max_normalise as min_max_normalise
    from crayon_bench.networks.mlp import MLP as MLP
    from crayon_bench.networks.neurons import Neurons as Neurons
    from crayon_bench.networks.specification import (
        CNNSpec as CNNSpec,
        MLPSpec as MLPSpec,
        ModelSpec as ModelSpec,
        Recipe as Recipe,
    )
    from crayon_bench.networks.training import (
        Batch as Batch,
        Penalty as Penalty,
        cross_entropy as cross_entropy,
        predict as predict,
    )
    from crayon_bench.oracle import (
        Bools as Bools,
        Boxes as Boxes,
        FeedbackOracle as FeedbackOracle,
        Floats as Floats,
        Groups as Groups,
        Ints as Ints,
        Masks as Masks,
        Patches as Patches,
        Situation as Situation,
        Verdicts as Verdicts,
    )
    from crayon_bench.parameters import Parameters as Parameters
    from crayon_bench.plugins.hookspecs import hookimpl as hookimpl
    from crayon_bench.seeds import derive_seed as derive_seed
    from crayon_bench.store.records import Record as Record, Status as Status
    from crayon_bench.store.request import RunRequest as RunRequest
    from crayon_bench.strategy import Pool as Pool, QueryStrategy as QueryStrategy

_ROOMS = {
    "api": "Leaderboard Results list_datasets list_methods list_protocols load_results run",
    "dataset": "DataFile Dataset Evidence Found LoadedData Pretrained Source Split",
    "errors": "GuardError MetricError StoreError TrainingError UserError",
    "executor": "Answer Executor Perform answer",
    "feedback": "FeedbackKind Verdict",
    "ledger.metered": "MeteredOracle",
    "method": "Job Method Setting",
    "metric": "Attention Direction Metric Predictions",
    "networks.classifier": "Classifier Forward",
    "networks.convnets": "ConvNet",
    "networks.exported": "load_model",
    "networks.grids": "ask_masks blur boxes_to_grid to_grid upsampling",
    "networks.maps": "max_normalise min_max_normalise",
    "networks.mlp": "MLP",
    "networks.neurons": "Neurons",
    "networks.specification": "CNNSpec MLPSpec ModelSpec Recipe",
    "networks.training": "Batch Penalty cross_entropy predict",
    "oracle": "Bools Boxes FeedbackOracle Floats Groups Ints Masks Patches Situation Verdicts",
    "parameters": "Parameters",
    "plugins.hookspecs": "hookimpl",
    "seeds": "derive_seed",
    "store.records": "Record Status",
    "store.request": "RunRequest",
    "strategy": "Pool QueryStrategy",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = sorted([*_HOME, "__version__"])


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"crayon_bench.{_HOME[name]}"), name)
    raise AttributeError(f"module 'crayon_bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
