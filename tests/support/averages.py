"""Averages of ewma, and a digest of them by which processes are compared."""

import hashlib

import numpy as np

import fastoptim as fo

from .cases import DTYPES


def numbers(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def all_results():
    """Of both dtypes, side by side and strided, in place too, with and without correction."""
    for dtype in DTYPES:
        for bias_correction in (True, False):
            x = numbers((300, 9, 33), dtype)
            for axis in range(3):
                yield fo.ewma(x, 0.99, axis=axis, bias_correction=bias_correction)
                kept = x.copy()
                yield fo.ewma(kept[:, ::-2], axis=axis, bias_correction=bias_correction,
                              out=kept[:, ::-2])


def digest(results):
    sha = hashlib.sha256()
    for result in results:
        sha.update(result.tobytes())
    return sha.hexdigest()
