"""The optimizer step on CPU memory: fused, in place, equal to NumPy to the bit."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from fastoptim import _core, storage
from fastoptim.adaptive import Adam, AdamW, RMSProp
from fastoptim.averages import ewma
from fastoptim.descent import SGD, Momentum
from fastoptim.functional import adam_, momentum_, rmsprop_, sgd_
from fastoptim.optimizer import Optimizer
from fastoptim.threads import (
    build_info,
    get_num_threads,
    get_threading,
    set_num_threads,
    set_threading,
)

if TYPE_CHECKING:
    from fastoptim import reference, schedules
    from fastoptim.batches import MiniBatches
    from fastoptim.permutation import Permutation
    from fastoptim.shuffle import shuffle_

__version__ = _core.version()


# Names that are imported when first asked for, and from where: not every program that takes steps
# shuffles or has a schedule, and these would be half of the import's time. What type checkers see
# of them is imported above.
_LATER = {
    "MiniBatches": "batches",
    "Permutation": "permutation",
    "reference": None,  # a module itself, as the next
    "schedules": None,
    "shuffle_": "shuffle",
}

if not TYPE_CHECKING:  # a type checker would take every name for one that is there

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}{_hint(name)}")
        module = import_module(f"fastoptim.{_LATER[name] or name}")
        value = globals()[name] = getattr(module, name) if _LATER[name] else module
        return value


def _hint(name: str) -> str:
    """Return what to add to the message for a name that there is not."""
    if name.startswith("_"):  # Python itself looks for such names
        return ""
    if name in ("optim", "optimizer"):
        return ": the optimizers are in this module, fastoptim.Adam"
    from fastoptim.checks import suggestion

    return suggestion(name, __all__)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})


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
    "get_threading",
    "momentum_",
    "reference",
    "rmsprop_",
    "schedules",
    "set_num_threads",
    "set_threading",
    "sgd_",
    "shuffle_",
    "storage",
]
