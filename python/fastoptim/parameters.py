"""How parameters and gradients are given: an array, a sequence, a mapping, or groups."""

from collections.abc import Iterable, Mapping, Set

import numpy as np


def is_array(x: object) -> bool:
    """Whether x is one array rather than a collection of them.

    What has a shape is one, though iterating it would give its rows (a sparse matrix) or the
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
    """Name -> array. Arrays of a sequence are named by position, counted from `first`."""
    if is_array(arrays):
        return {first: arrays}
    if isinstance(arrays, Mapping):
        for name in arrays:
            if not isinstance(name, str):
                raise TypeError(f"{what} must be named by strings, got {name!r}")
        return dict(arrays)
    if isinstance(arrays, Iterable) and not isinstance(arrays, (str, Set)):
        return dict(enumerate(arrays, first))
    raise TypeError(
        f"{what} must be an array, a sequence or a mapping of arrays, got {type(arrays).__name__}"
    )


def is_groups(params: object) -> bool:
    """Whether params is a list of groups: mappings that each hold "params"."""
    return (
        isinstance(params, (list, tuple))
        and len(params) > 0
        and all(isinstance(group, Mapping) for group in params)
    )


def in_order(grads: object, names: list[str | int]) -> list[object]:
    """The gradients in the order of the parameters' names, which they must match exactly."""
    if type(grads) is list and len(grads) == len(names):
        return grads  # the shortest way; to ask whether it is a Mapping takes 0.2 us
    if isinstance(grads, Mapping):
        # Asked first, since a defaultdict would make up what is missing.
        if len(grads) == len(names) and all(map(grads.__contains__, names)):
            return [grads[name] for name in names]
        missing = [name for name in names if name not in grads]
        extra = [name for name in grads if name not in names]
        differences = [f"{kind} {found}" for kind, found in
                       (("missing", missing), ("unexpected", extra)) if found]
        raise ValueError(f"grads must have the parameters' names, got {', '.join(differences)}")
    if isinstance(grads, (list, tuple)):
        ordered = grads
    elif is_array(grads):
        ordered = [grads]
    elif isinstance(grads, Iterable) and not isinstance(grads, Set):  # a set has no order
        ordered = list(grads)
    else:
        raise TypeError(
            "grads must be an array, a sequence or a mapping of arrays, "
            f"got {type(grads).__name__}"
        )
    if len(ordered) != len(names):
        raise ValueError(f"grads must hold {len(names)} arrays, one a parameter, "
                         f"got {len(ordered)}")
    return ordered
