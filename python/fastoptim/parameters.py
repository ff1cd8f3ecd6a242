"""How parameters and gradients are given: an array, a sequence, a mapping, or groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from fastoptim import checks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    # A mapping or list, its keys, the arrays there, the parameters' names, "params" or "grads".
    Kept: TypeAlias = tuple[Any, tuple[Any, ...], tuple[object, ...], tuple[str | int, ...], str]


def is_array(x: Any) -> bool:
    """Return whether x is one array rather than a collection of them.

    Anything with a shape is one, though iterating it would give its rows (a sparse matrix) or the
    names of its columns (a data frame).
    """
    if isinstance(x, np.ndarray):
        return True
    if any(hasattr(x, name) for name in ("__dlpack__", "__array__", "shape")):
        return True
    try:
        memoryview(x)
    except TypeError:
        return False
    return True


def named(arrays: object, what: str, first: int = 0) -> dict[str | int, object]:
    """Return name -> array. A sequence's arrays are named by position, from `first` on."""
    if is_array(arrays):
        return {first: arrays}
    if isinstance(arrays, Mapping):
        for name in arrays:
            if not isinstance(name, str):
                raise TypeError(f"{what} must be named by strings, got {name!r}")
        return dict(arrays)
    if isinstance(arrays, Iterable) and not isinstance(arrays, (str, Set)):
        arrays = list(arrays)
        _check_items(arrays, what)
        return dict(enumerate(arrays, first))
    raise TypeError(
        f"{what} must be an array, a sequence or a mapping of arrays, got {type(arrays).__name__}"
    )


def _check_items(arrays: list[Any], what: str) -> None:
    """Raise TypeError for a list that is likely to have been meant as something else."""
    rule = f"{what} must be an array, a sequence or a mapping of arrays, got "
    if len(arrays) > 1 and all(isinstance(x, Real) and not isinstance(x, np.generic)
                               for x in arrays):
        raise TypeError(f"{rule}numbers: np.array({what}) makes one array of them")
    if arrays and all(isinstance(x, tuple) and len(x) == 2 and isinstance(x[0], str)
                      for x in arrays):
        raise TypeError(f"{rule}pairs of name and array: dict({what}) makes a mapping of them")


def kept(what: str, arrays: object, named_arrays: dict[str | int, object]) -> list[Kept]:
    """Return what check_kept needs to see whether a mapping or list still holds these arrays.

    The list is empty for a collection that cannot change or makes its arrays at each access.
    """
    if isinstance(arrays, Mapping):
        if any(arrays[name] is not x for name, x in named_arrays.items()):
            return []
        named_arrays = {name: named_arrays[name] for name in arrays}  # the order that it has
        keys: tuple[Any, ...] = tuple(named_arrays)
        names = tuple(named_arrays)
    elif isinstance(arrays, list):
        names = tuple(named_arrays)
        keys = tuple(range(len(names)))
    else:
        return []
    return [(arrays, keys, tuple(named_arrays.values()), names, what)]


def check_kept(all_kept: Iterable[Kept]) -> None:
    """Raise ValueError for the first array that was rebound, removed or added since `kept`."""
    for arrays, keys, objects, names, what in all_kept:
        one = "parameter" if what == "params" else "grad"
        for key, x, name in zip(keys, objects, names):
            if key >= len(arrays) if isinstance(arrays, list) else key not in arrays:
                raise ValueError(f"{what} must hold {one} {name!r} as long as the optimizer is "
                                 "used, got none there: make a new optimizer of what is left")
            if arrays[key] is not x:
                rest = ("or make a new optimizer" if what == "params" else
                        "or give the gradients to step(grads)")
                raise ValueError(
                    f"{one} {name!r} must stay the array that the optimizer was made with, got "
                    f"another one in {what}[{key!r}], which was rebound: write in place, "
                    f"{what}[{key!r}][...] = value, {rest}")
        if len(arrays) != len(keys):
            added = (f"{len(arrays) - len(keys)} more" if isinstance(arrays, list) else
                     ", ".join(repr(key) for key in arrays if key not in keys) + " beside them")
            raise ValueError(f"{what} must hold the arrays that the optimizer was made with, got "
                             f"{added}: make a new optimizer, or give it a copy of the collection")


def is_groups(params: object) -> bool:
    """Return whether params is a list of groups: mappings that each hold "params"."""
    return (
        isinstance(params, (list, tuple))
        and len(params) > 0
        and all(isinstance(group, Mapping) for group in params)
    )


def in_order(grads: Any, names: list[str | int]) -> Sequence[Any]:
    """Return the gradients in the order of the parameters; their names must match exactly."""
    if type(grads) is list and len(grads) == len(names):
        return grads  # the common case; isinstance(grads, Mapping) takes 0.2 us
    if isinstance(grads, Mapping):
        # Asked first, since a defaultdict would make up what is missing.
        if len(grads) == len(names) and all(map(grads.__contains__, names)):
            return [grads[name] for name in names]
        missing = [name for name in names if name not in grads]
        extra = [name for name in grads if name not in names]
        differences = [f"{kind} {found}" for kind, found in
                       (("missing", missing), ("unexpected", extra)) if found]
        raise ValueError(f"grads must have the parameters' names, got {', '.join(differences)}"
                         f"{_renaming(missing, extra)}")
    ordered: Sequence[Any]
    if isinstance(grads, (list, tuple)):
        ordered = grads
    elif is_array(grads):
        ordered = [grads]
    elif isinstance(grads, Iterable) and not isinstance(grads, (str, Set)):  # a set has no order
        ordered = list(grads)
    else:
        hint = (": step takes the gradients, not the loss" if isinstance(grads, Real) else
                ": call it first, and give step the gradients" if callable(grads) else "")
        raise TypeError(
            "grads must be an array, a sequence or a mapping of arrays, "
            f"got {type(grads).__name__}{hint}"
        )
    if len(ordered) != len(names):
        plural = "s" * (len(names) != 1)
        raise ValueError(f"grads must hold {len(names)} array{plural}, one a parameter, "
                         f"got {len(ordered)}{_mistaken(grads, ordered)}")
    return ordered


def _renaming(missing: list[Any], extra: list[Any]) -> str:
    """Return the likely fix where gradients have other names than parameters: dW1 and W1, say."""
    for name in missing:
        for other in extra:
            if isinstance(name, str) and isinstance(other, str) and name in other:
                return f": gradients are named as their parameters, {name!r} and not {other!r}"
    if all(isinstance(name, int) for name in missing) and missing:
        return ": parameters of a sequence have positions for names, give the gradients as a list"
    return checks.suggestion(extra[0], missing) if extra else ""


def _mistaken(grads: object, ordered: Sequence[Any]) -> str:
    """Return the likely fix where gradients are too many or too few."""
    if ordered and all(isinstance(x, Real) and not isinstance(x, np.generic) for x in ordered):
        return ": np.array(grads) makes one array of numbers"
    if is_array(grads) and getattr(grads, "ndim", None) == 0:
        return ": step takes the gradients, not the loss"
    return ""
