"""The rows of batches, and the order in which they come."""

import json

import numpy as np

import fastoptim as fo

from . import TESTS

# What `python -m support.reference_permutation` printed.
VECTORS = json.loads((TESTS / "data" / "permutation.json").read_text())


def order(n, seed=0, epoch=0):
    return fo.Permutation(n, seed, epoch)[:]


def rows(batches):
    """One epoch's rows, of batches over np.arange(n)."""
    taken = list(batches)
    return np.concatenate(taken) if taken else np.arange(0)


def order_list(n, seed=0, epoch=0):
    return order(n, seed, epoch).tolist()


def row_list(batches):
    return [row for batch in batches for row in batch.tolist()]
