"""How states are stored, and how what is stored in fewer bytes is rounded."""

from collections.abc import Mapping

import numpy as np

from fastoptim import _core, checks
from fastoptim.options import Options
from fastoptim.rules import Rule

__all__ = ["StorageOptions", "dequantize"]

STATE_DTYPES = ("float32", "bfloat16", "float16", "q8")
ROUNDINGS = ("stochastic", "nearest")
Q8_BLOCK = 128


class StorageOptions(Options):
    """The options of an optimizer that are not its rule's."""

    defaults = {
        "state_dtype": None,
        "seed": 0,
        "rounding": "stochastic",
        "master": False,
        "uint16_is_bfloat16": False,
    }

    def _check(self) -> None:
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

    @property
    def stochastic(self) -> bool:
        return self.rounding == "stochastic"

    def resumed(self, saved: object) -> "StorageOptions":
        """These options with the seed and the rounding of those saved by `as_dict`.

        Raises TypeError or ValueError if states saved under those cannot be taken over.
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
        """Options that are not the default, as text."""
        return [f"{name}={value!r}" for name, value in self.as_dict().items()
                if value != self.defaults[name]]


class States:
    """What goes with one parameter."""

    def __init__(self, arrays: dict[str, np.ndarray], scales: dict[str, np.ndarray],
                 master: np.ndarray | None) -> None:
        self.arrays = arrays  # by name
        self.scales = scales  # of q8, by the state's name
        self.master = master

    @property
    def shown(self) -> dict[str, np.ndarray]:
        """As Optimizer.state shows them."""
        shown = {}
        for name, x in self.arrays.items():
            shown[name] = x
            if name in self.scales:
                shown[f"{name}_scales"] = self.scales[name]
        if self.master is not None:
            shown["master"] = self.master
        return shown


def make_states(options: StorageOptions, rule: Rule, p: np.ndarray, stored: str,
                label: str) -> States:
    """Memory for the states of a parameter whose elements are stored as `stored`.

    Not zeroed, but for the scales; the master holds the parameter.
    """
    state_dtype = options.state_dtype
    if stored == "float64":
        if state_dtype is not None:
            raise ValueError(f"state_dtype must be None for {label} of float64, whose states are "
                             f"float64 too, got {state_dtype!r}")
        state_dtype = "float64"
    squares = [name for name in rule.states if name in rule.squares]
    if state_dtype == "float16" and squares:
        raise ValueError(
            f"state_dtype must be None, 'float32', 'bfloat16' or 'q8' for {rule.name}, whose state "
            f"{squares[0]!r} holds squares, got 'float16', in which the square of a gradient below "
            "2e-4 is 0: 'bfloat16' takes no more bytes"
        )
    # By default in what the rule computes in: no accuracy is given up unless that is asked for.
    state_dtype = state_dtype or "float32"
    arrays, scales = {}, {}
    for slot, name in enumerate(rule.states):
        dtype = _numpy_dtype(state_dtype, name in rule.squares, options.uint16_is_bfloat16)
        arrays[name] = _core.empty_state(p, dtype, slot)
        if state_dtype == "q8":
            scales[name] = np.zeros(-(-p.size // Q8_BLOCK), np.uint8)
    master = None
    if options.master and stored in ("bfloat16", "float16"):
        master = _core.empty_state(p, np.float32, len(rule.states))
        _core.copy_decoded(master, p, options.uint16_is_bfloat16)
    return States(arrays, scales, master)


def _numpy_dtype(name: str, is_square: bool, uint16_is_bfloat16: bool) -> np.dtype:
    if name == "q8":
        return np.dtype(np.uint8 if is_square else np.int8)
    if name != "bfloat16":
        return np.dtype(name)
    if uint16_is_bfloat16:
        return np.dtype(np.uint16)
    try:
        from ml_dtypes import bfloat16
    except ImportError as error:
        raise ImportError("state_dtype='bfloat16' needs ml_dtypes (pip install ml_dtypes), or "
                          "uint16_is_bfloat16=True for arrays of patterns") from error
    return np.dtype(bfloat16)


def patterns(x: np.ndarray) -> np.ndarray:
    """bfloat16 as uint16, which NumPy copies without ml_dtypes; others as they are."""
    return x.view(np.uint16) if x.dtype.name == "bfloat16" else x


def check_blocks(x: np.ndarray, source: np.ndarray, label: str) -> None:
    """ValueError unless a source for q8 codes has its blocks where x has them."""
    if x.dtype not in (np.int8, np.uint8) or x.shape != source.shape or x.size == 0:
        return
    steps, expected = ([step for step, length in zip(strides, x.shape) if length > 1]
                       for strides in (source.strides, x.strides))
    if steps != expected:
        raise ValueError(f"{label} must have strides {x.strides}, since elements side by side in "
                         f"memory share a scale, got {source.strides}")


def dequantize(codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The values of a state in q8, as `Optimizer.state` shows it: a new float32 array.

        |x| = (float32 with the pattern of 1.0, plus |code| * 2**20, minus 1) * scale

    Args:
        codes: int8 for states of either sign, uint8 for squares.
        scales: uint8, one for each 128 codes in the order in which they lie in memory.

    Raises:
        TypeError, ValueError: other dtypes, or another number of scales.

    Example:
        >>> import numpy as np, fastoptim as fo
        >>> p = np.zeros(3, np.float32)
        >>> opt = fo.Momentum(p, state_dtype="q8", beta=0.5)
        >>> opt.step(np.array([2.0, -1.0, 0.0], np.float32))
        >>> fo.storage.dequantize(opt.state[0]["v"], opt.state[0]["v_scales"]).round(1)
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
    with np.errstate(over="ignore"):  # the very largest of the law are beyond float32
        x = ((magnitude << 20) + 0x3F800000).view(np.float32) - np.float32(1)
        exponents = np.maximum(scales.astype(np.int32) - top, 1)
        x *= np.repeat((exponents << 23).view(np.float32), Q8_BLOCK)[:x.size]
    x[magnitude == infinite] = np.inf
    x[flat < 0] *= -1
    x[flat == nan] = np.nan
    strides = np.empty_like(codes, np.float32).strides  # in memory as the codes are
    return np.ndarray(codes.shape, np.float32, x, strides=strides)
