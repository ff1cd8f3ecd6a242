"""The optimizer step on CPU memory: fused, in place, equal to NumPy to the bit."""

from importlib import import_module

from fastoptim import _core, storage
from fastoptim.averages import ewma
from fastoptim.batches import MiniBatches, shuffle_
from fastoptim.functional import adam_, momentum_, rmsprop_, sgd_
from fastoptim.optimizer import Optimizer
from fastoptim.optimizers import SGD, Adam, AdamW, Momentum, RMSProp
from fastoptim.permutation import Permutation
from fastoptim.threads import build_info, get_num_threads, set_num_threads

__version__ = _core.version()


def __getattr__(name: str):
    if name == "schedules":  # when first asked for: it would be a third of the import's time
        return import_module("fastoptim.schedules")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "MiniBatches",
    "Momentum",
    "Optimizer",
    "Permutation",
    "RMSProp",
    "__version__",
    "adam_",
    "build_info",
    "ewma",
    "get_num_threads",
    "momentum_",
    "rmsprop_",
    "schedules",
    "set_num_threads",
    "sgd_",
    "shuffle_",
    "storage",
]
