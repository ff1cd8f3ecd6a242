"""How states are stored, and how what is stored in fewer bytes is rounded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fastoptim import _core, checks
from fastoptim.options import Options

if TYPE_CHECKING:
    from typing import Any, TypeAlias

    from fastoptim.rules import Rule

    AnyArray: TypeAlias = np.ndarray[Any, Any]
    NewArray: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

__all__ = ["StorageOptions", "dequantize"]

STATE_DTYPES = ("float32", "bfloat16", "float16", "q8")
ROUNDINGS = ("stochastic", "nearest")
Q8_BLOCK = 128


class StorageOptions(Options):
    """The options of an optimizer that are not its rule's: how elements are stored and rounded."""

    defaults: dict[str, object] = {
        "state_dtype": None,
        "seed": 0,
        "rounding": "stochastic",
        "master": False,
        "uint16_is_bfloat16": False,
    }

    state_dtype: str | None
    seed: int
    rounding: str
    master: bool
    uint16_is_bfloat16: bool

    def __init__(self, **given: object) -> None:
        values = vars(self)
        values.update(self.defaults)
        values.update(given)
        if len(values) > len(self.defaults):
            name = next(name for name in given if name not in self.defaults)
            raise TypeError(f"StorageOptions takes the options {', '.join(self.defaults)}, "
                            f"got {name!r}{checks.suggestion(name, self.defaults)}")
        if self.state_dtype is not None and self.state_dtype not in STATE_DTYPES:
            raise ValueError(f"state_dtype must be None or one of {', '.join(STATE_DTYPES)}, "
                             f"got {self.state_dtype!r}")
        if checks.integer("seed", self.seed, low=0) >= 2**64:
            raise ValueError(f"seed must be < 2**64, got {self.seed!r}")
        self._set("seed", int(self.seed))
        if self.rounding not in ROUNDINGS:
            raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}, "
                             f"got {self.rounding!r}")
        self._flags("master", "uint16_is_bfloat16")

    def replaced(self, **changes: object) -> StorageOptions:
        return StorageOptions(**(self.as_dict() | changes))

    @property
    def stochastic(self) -> bool:
        """Whether rounding is stochastic."""
        return self.rounding == "stochastic"

    def with_saved(self, saved: object) -> StorageOptions:
        """Return these options with the seed and the rounding of those saved by `as_dict`.

        Raises
        ------
        TypeError
            A saved option is of another kind.
        ValueError
            States that were saved under those options cannot be loaded under these.
        """
        if not isinstance(saved, Mapping) or set(saved) != set(self.defaults):
            raise ValueError(f"storage must hold {list(self.defaults)}, got {saved!r}")
        saved = StorageOptions(**saved)
        for name in ("state_dtype", "master"):
            if getattr(self, name) != getattr(saved, name):
                raise ValueError(f"{name} must be {getattr(self, name)!r} as it is here, "
                                 f"got {getattr(saved, name)!r}")
        return self.replaced(seed=saved.seed, rounding=saved.rounding)

    def changed(self) -> list[str]:
        """Return the options that are not the default, as text."""
        return [f"{name}={value!r}" for name, value in self.as_dict().items()
                if value != self.defaults[name]]


class States:
    """The states of one parameter, and its float32 master if it has one."""

    __slots__ = ("arrays", "master", "scales")

    def __init__(self, arrays: dict[str, AnyArray], scales: dict[str, AnyArray],
                 master: AnyArray | None) -> None:
        self.arrays = arrays  # by name
        self.scales = scales  # of q8, by the state's name
        self.master = master

    def as_dict(self) -> dict[str, AnyArray]:
        """Return the arrays by the names that Optimizer.state shows."""
        if not self.scales and self.master is None:
            return self.arrays
        arrays = {}
        for name, x in self.arrays.items():
            arrays[name] = x
            if name in self.scales:
                arrays[f"{name}_scales"] = self.scales[name]
        if self.master is not None:
            arrays["master"] = self.master
        return arrays


def state_dtypes(options: StorageOptions, rule: Rule, stored: str,
                 label: str) -> dict[str, np.dtype[Any]]:
    """Return the dtype of each state of a parameter whose elements are stored as `stored`.

    label: what errors call the first such parameter.
    """
    state_dtype = options.state_dtype
    if stored == "float64":
        if state_dtype is not None:
            raise ValueError(f"state_dtype must be None for {label} of float64, whose states are "
                             f"float64 too, got {state_dtype!r}")
        state_dtype = "float64"
    squares = rule.nonnegative_states
    if state_dtype == "float16" and squares:
        raise ValueError(
            f"state_dtype must be None, 'float32', 'bfloat16' or 'q8' for {rule.name}, whose state "
            f"{squares[0]!r} holds squares, got 'float16', in which the square of a gradient below "
            "2e-4 is 0: 'bfloat16' takes no more bytes"
        )
    # The default is the type that the rule computes in, so that no accuracy is lost unasked.
    state_dtype = state_dtype or "float32"
    return {name: _numpy_dtype(state_dtype, name in squares, options.uint16_is_bfloat16)
            for name in rule.states}


def make_states(options: StorageOptions, dtypes: dict[str, np.dtype[Any]], p: AnyArray,
                stored: str) -> States:
    """Allocate the states of parameter p, whose elements are stored as `stored`.

    Only the scales are zeroed here: _core.Step.zero_states does the rest, in the threads that will
    step them (first touch). The master holds the parameter.
    """
    arrays: dict[str, AnyArray] = {}
    scales: dict[str, AnyArray] = {}
    for slot, (name, dtype) in enumerate(dtypes.items()):
        arrays[name] = _core.empty_state(p, dtype, slot)
        if options.state_dtype == "q8":
            scales[name] = np.zeros(-(-p.size // Q8_BLOCK), np.uint8)
    master = None
    if options.master and stored in ("bfloat16", "float16"):
        master = _core.empty_state(p, np.float32, len(dtypes))
        _core.copy_decoded(master, p, options.uint16_is_bfloat16)
    return States(arrays, scales, master)


def _numpy_dtype(name: str, nonnegative: bool, uint16_is_bfloat16: bool) -> np.dtype[Any]:
    if name == "q8":
        return np.dtype(np.uint8 if nonnegative else np.int8)
    if name != "bfloat16":
        return np.dtype(name)
    if uint16_is_bfloat16:
        return np.dtype(np.uint16)
    try:
        from ml_dtypes import bfloat16
    except ImportError as error:
        raise ImportError("state_dtype='bfloat16' needs ml_dtypes (pip install ml_dtypes), or "
                          "uint16_is_bfloat16=True for arrays of patterns") from error
    dtype: np.dtype[Any] = np.dtype(bfloat16)
    return dtype


def bfloat16_bits(x: AnyArray) -> AnyArray:
    """Return a view of bfloat16 as uint16, which NumPy copies without ml_dtypes; else x."""
    return x.view(np.uint16) if x.dtype.name == "bfloat16" else x


def check_blocks(x: AnyArray, source: AnyArray, label: str) -> None:
    """Raise ValueError if x holds q8 codes and the blocks of `source` are other elements."""
    if x.dtype not in (np.int8, np.uint8) or x.shape != source.shape or x.size == 0:
        return
    steps, expected = ([step for step, length in zip(strides, x.shape) if length > 1]
                       for strides in (source.strides, x.strides))
    if steps != expected:
        raise ValueError(f"{label} must have strides {x.strides}, since elements side by side in "
                         f"memory share a scale, got {source.strides}")


def dequantize(codes: AnyArray, scales: AnyArray) -> NewArray:
    r"""Decode a q8 state.

    .. math:: |x| = (f(|c|) - 1) \cdot 2^{e}

    where :math:`f(|c|)` is the float32 whose bits, as an integer, are those of
    1.0 plus :math:`2^{20} |c|` for code :math:`c`, and
    :math:`e = \max(s - k, 1) - 127` for the scale :math:`s` of its block, with
    :math:`k = 15` for int8 codes and 31 for uint8.

    Parameters
    ----------
    codes : ndarray of int8 or uint8
        int8 for states of either sign, uint8 for states that are never
        negative. Any shape, without gaps in memory.
    scales : ndarray of uint8, shape (ceil(codes.size / 128),)
        One for each block of 128 codes, in the order in which they lie in
        memory.

    Returns
    -------
    ndarray of float32, shape codes.shape
        The values: a new array, laid out in memory as the codes are.

    Raises
    ------
    TypeError
        The codes are neither int8 nor uint8.
    ValueError
        The scales are not uint8, or not one for each block.

    Examples
    --------
    >>> import numpy as np, fastoptim as fo
    >>> p = np.zeros(3, np.float32)
    >>> opt = fo.Momentum(p, state_dtype="q8", beta=0.5)
    >>> opt.step(np.array([2.0, -1.0, 0.0], np.float32))
    >>> v, scales = opt.state[0]["v"], opt.state[0]["v_scales"]
    >>> fo.storage.dequantize(v, scales).round(1)
    array([ 1. , -0.5,  0. ], dtype=float32)
    """
    codes, scales = np.asarray(codes), np.asarray(scales)
    if codes.dtype not in (np.int8, np.uint8):
        raise TypeError(f"codes must have dtype int8 or uint8, got {codes.dtype}")
    n_blocks = -(-codes.size // Q8_BLOCK)
    if scales.dtype != np.uint8 or scales.shape != (n_blocks,):
        raise ValueError(f"scales must be {n_blocks} uint8, got {scales.dtype} of shape "
                         f"{scales.shape}")
    signed = codes.dtype == np.int8
    top, infinite, nan = (15, 127, -128) if signed else (31, 254, 255)
    flat = codes.ravel(order="K").astype(np.int32)
    magnitude = np.abs(flat)
    with np.errstate(over="ignore"):  # the largest codes with the largest scale overflow
        x = ((magnitude << 20) + 0x3F800000).view(np.float32) - np.float32(1)
        exponents = np.maximum(scales.astype(np.int32) - top, 1)
        x *= np.repeat((exponents << 23).view(np.float32), Q8_BLOCK)[:x.size]
    x[magnitude == infinite] = np.inf
    x[flat < 0] *= -1
    x[flat == nan] = np.nan
    strides = np.empty_like(codes, np.float32).strides  # in memory as the codes are
    return np.ndarray(codes.shape, np.float32, x, strides=strides)
