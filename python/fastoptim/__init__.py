"""The optimizer step on CPU memory: fused, in place, equal to NumPy to the bit."""

from fastoptim import _core, schedules
from fastoptim.averages import ewma
from fastoptim.batches import MiniBatches, shuffle_
from fastoptim.functional import adam_, momentum_, rmsprop_, sgd_
from fastoptim.optimizers import SGD, Adam, AdamW, Momentum, Optimizer, RMSProp
from fastoptim.permutation import Permutation
from fastoptim.threads import build_info, get_num_threads, set_num_threads

__version__ = _core.version()

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
]
