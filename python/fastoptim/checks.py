"""Checks of options: each states the rule and the value that broke it."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_STEPS = 2**53  # what a float64 can count up to, one by one

# What other libraries and books call an option, and what it may be called here.
ALIASES = {
    "alpha": ("lr", "beta"),  # the rate in the papers, the weight of the past in torch's RMSprop
    "beta1": ("betas", "beta"),
    "beta2": ("betas", "beta"),
    "beta_1": ("betas", "beta"),
    "beta_2": ("betas", "beta"),
    "batchsize": ("batch_size",),
    "bs": ("batch_size",),
    "decay": ("weight_decay",),
    "epsilon": ("eps",),
    "eta": ("lr",),
    "l2": ("weight_decay",),
    "learning_rate": ("lr",),
    "momentum": ("beta",),
    "random_state": ("seed",),
    "rho": ("beta",),
    "step_size": ("lr",),
    "wd": ("weight_decay",),
}


def suggestion(name: object, names: Iterable[object]) -> str:
    """Return "; did you mean 'lr'?" if some of the names are like `name`, else ""."""
    strings = [known for known in names if isinstance(known, str)]
    if not isinstance(name, str) or not strings:
        return ""
    found = [known for known in ALIASES.get(name.lower(), ()) if known in strings]
    found = found or [known for known in strings if known.lower() == name.lower()]
    if not found:
        from difflib import get_close_matches  # here, since the import would take a millisecond

        found = get_close_matches(name, strings, n=1, cutoff=0.7)
    return f"; did you mean {' or '.join(map(repr, found))}?" if found else ""


def _unwrapped(value: Any) -> Any:
    """Return the scalar in an array without axes, as jax.numpy gives them; else `value`."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def number(name: str, value: Any, *, low: float = 0.0, below: float = math.inf) -> float:
    """Return `value` as a float in [low, below); TypeError or ValueError otherwise."""
    given = value
    if type(value) is not float:  # the common case: isinstance(value, Real) takes 0.2 us
        value = _unwrapped(value)
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"{name} must be a number, got {given!r}")
    try:
        value = float(value)  # before the comparison: what is just below 1 may round to 1
    except OverflowError:
        value = math.inf
    if not low <= value < below:  # refuses NaN, too
        rule = f"finite and >= {low:g}" if below == math.inf else f"in [{low:g}, {below:g})"
        raise ValueError(f"{name} must be {rule}, got {given!r}")
    result: float = value + 0.0  # makes 0.0 of -0.0: the kernels rely on the sign
    return result


def integer(name: str, value: Any, *, low: int | None = None, high: int | None = None) -> int:
    """Return `value` as an int in [low, high]; TypeError or ValueError otherwise."""
    given, value = value, _unwrapped(value)
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {given!r}")
    n = int(value)
    if (low is not None and n < low) or (high is not None and n > high):
        rule = f">= {low}" if high is None else f"in [{low}, {_short(high)}]"
        raise ValueError(f"{name} must be {rule}, got {given!r}")
    return n


def _short(number: int) -> str:
    """Return the number as text; near a large power of two, as 2**k or 2**k - 1."""
    for less, suffix in ((0, ""), (1, " - 1")):
        if number >= 1 << 60 and (number + less).bit_count() == 1:
            return f"2**{(number + less).bit_length() - 1}{suffix}"
    return str(number)


def flag(name: str, value: object) -> bool:
    """Return `value` if it is a bool; TypeError otherwise."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value
