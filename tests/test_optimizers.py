"""What optimizers do beside the arithmetic: options, rates, groups, states, saving."""

from fractions import Fraction

import numpy as np
import pytest
from refusal import refused

import fastoptim as fo

# Numbers that only look like ones in range


@pytest.mark.parametrize("t", [2**53 + 1, 2**63, 10**400])
def test_a_count_beyond_float64_is_refused(t):
    arrays = [np.ones(2) for _ in "pgmv"]
    with refused(ValueError, r"t must be in \[1, 9007199254740992\], got \d+", *arrays):
        fo.adam_(*arrays, t=t)
    opt = fo.Adam(arrays[0])
    with refused(ValueError, r"t must be in \[0, 9007199254740992\], got \d+", opt):
        opt.load_state_dict(opt.state_dict() | {"t": t})


def test_a_number_that_rounds_to_one_is_not_below_one():
    nearly = Fraction(10**20 - 1, 10**20)
    with pytest.raises(ValueError, match=r"beta must be in \[0, 1\), got Fraction"):
        fo.Momentum(np.ones(2), beta=nearly, bias_correction=True)
    assert fo.Momentum(np.ones(2), beta=Fraction(1, 2)).groups[0]["beta"] == 0.5


def test_an_integer_beyond_float64_is_not_finite():
    with pytest.raises(ValueError, match="lr must be finite and >= 0, got 1000"):
        fo.SGD(np.ones(2), lr=10**400)
