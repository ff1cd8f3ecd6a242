"""Said wrongly, or not at all: faults that users of other libraries reported in public.

A test is named by what the user saw. Its first line says where that was reported, and what was
seen there; the rest is the same situation here.
"""

import numpy as np
import pytest

import fastoptim as fo

from support import child

REFUSED = (AttributeError, RuntimeError, TypeError, ValueError)


def test_the_formula_in_the_documentation_is_the_one_that_is_computed():
    # https://github.com/pytorch/pytorch/issues/41477: eps stood elsewhere than in the paper.
    assert "reference.adam" in fo.Adam.__doc__
    rng, s = np.random.default_rng(0), {}
    p = rng.standard_normal(1000, np.float32)
    mine = p.copy()
    opt = fo.Adam(mine, eps=1e-3)
    for t in range(1, 4):
        g = rng.standard_normal(1000, np.float32)
        p = fo.reference.adam(p, g, s, t, eps=1e-3)
        opt.step(g)
    assert p.tobytes() == mine.tobytes()


def test_an_option_of_another_optimizer_is_refused_with_what_there_is():
    # https://github.com/pykale/pykale/issues/447: Adam got an unexpected keyword, 'momentum'.
    with pytest.raises(TypeError, match="momentum") as caught:
        fo.Adam(np.zeros(3), momentum=0.9)
    assert all(option in str(caught.value) for option in ("betas", "eps", "lr", "state_dtype"))


def test_a_misspelt_option_is_refused_with_the_nearest():
    # https://github.com/lanl/scico/pull/382: a typo in an option's name went unnoticed.
    with pytest.raises(TypeError, match="weight_decay"):
        fo.Adam(np.zeros(3), weight_decai=0.1)
    with pytest.raises(REFUSED, match="W1"):
        fo.Adam({"W1": np.zeros(3)}).step({"dW1": np.ones(3)})


@pytest.mark.parametrize("option, value", [("--sizes", "inf"), ("--sizes", "abc"),
                                           ("--sizes", "1e30"), ("--seconds", "-1"),
                                           ("--seconds", "nan"), ("--threads", "0")])
def test_a_number_on_the_command_line_is_checked_before_the_work(option, value):
    # https://github.com/openvax/mhcflurry/issues/353: NaN, inf, sizes of 0 failed too late.
    done = child.python("-m", "fastoptim", "bench", option, value, COLUMNS="80")
    assert done.returncode != 0 and "Traceback" not in done.stderr and not done.stdout
    assert option[2:] in done.stderr.strip().splitlines()[-1]
