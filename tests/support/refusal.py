"""Proof that a refused call changed nothing."""

from contextlib import contextmanager

import numpy as np
import pytest

import fastoptim as fo


def _memory(x):
    """All memory behind an array, so that what lies beside a view is compared too."""
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x


def _facts(thing):
    if isinstance(thing, fo.Optimizer):
        arrays = list(thing.params.values())
        for states in thing.state.values():
            arrays += states.values()
        options = [tuple((key, repr(group[key])) for key in group.keys() if key != "lr")
                   for group in thing.groups]
        return [thing.t, repr(thing), options] + [_memory(x).tobytes() for x in arrays]
    return _memory(thing).tobytes()


@contextmanager
def refused(error, match, *things):
    """The block raises `error` with a message that `match` is found in, and leaves the bytes of
    the arrays and the parameters, states, options and step count of the optimizers as they were.
    """
    before = [_facts(thing) for thing in things]
    with pytest.raises(error, match=match):
        yield
    assert [_facts(thing) for thing in things] == before
