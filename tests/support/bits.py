"""Comparison of every byte."""

import numpy as np


def same_bytes(a, b):
    return all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
               for x, y in zip(a, b, strict=True))


def all_arrays(opt):
    return [*opt.params.values(), *(x for s in opt.state.values() for x in s.values())]


def assert_same_bytes(got, expected):
    """Both are (p, states); says how many bytes of which array differ."""
    p, states = got
    p_expected, states_expected = expected
    assert states.keys() == states_expected.keys()
    for name, x, y in [("p", p, p_expected),
                       *((name, states[name], states_expected[name]) for name in states)]:
        y = y.reshape(x.shape)
        differs = np.frombuffer(x.tobytes(), np.uint8) != np.frombuffer(y.tobytes(), np.uint8)
        assert not differs.any(), f"{name} differs in {differs.sum()} bytes: {x} != {y}"
