"""Each parameter has its own step count: its coefficients and random bits depend on that."""

import ml_dtypes
import numpy as np
import pytest

import fastoptim as fo

from support import reference_storage
from support.cases import CASES, OPTIMIZERS, gradients, initial, name_of
from support.refusal import refused

each_case = pytest.mark.parametrize("case", CASES, ids=name_of)


@each_case
def test_parameters_of_different_counts_are_each_stepped_at_their_own(case):
    """Four parameters whose states are of other counts, put into one optimizer by hand."""
    rule, options = case
    n, counts = 37, {"a": 5, "b": 0, "c": 5, "d": 12}
    make, reference = OPTIMIZERS[rule]
    params, states, saved = {}, {}, {}
    for k, (name, count) in enumerate(counts.items()):
        params[name], states[name] = initial(n + k, "float32"), {}
        alone = make({name: params[name].copy()}, **options)
        for t, g in enumerate(gradients(n + k, "float32", 12)[:count], 1):
            alone.step([g])
            params[name] = reference(params[name], g, states[name], t, **options)
        saved[name] = alone.state_dict()["state"][name]
    opt = make([{"params": {name: params[name].copy() for name in "ab"}},
                {"params": {name: params[name].copy() for name in "cd"}}], **options)
    opt.load_state_dict(opt.state_dict() | {"t": 12, "counts": counts, "state": saved})
    for k in range(5):
        g = {name: gradients(n + i, "float32", 12)[k] for i, name in enumerate("abcd")}
        opt.step(g)
        for name, count in counts.items():
            params[name] = reference(params[name], g[name], states[name], count + k + 1, **options)
            assert opt.params[name].tobytes() == params[name].tobytes(), (name, k)
            for s, x in opt.state[name].items():
                assert x.tobytes() == states[name][s].tobytes()
    d = opt.state_dict()
    assert d["t"] == 17 and d["counts"] == {name: count + 5 for name, count in counts.items()}


def test_a_parameter_that_is_added_late_begins_like_a_fresh_one():
    old, g = np.ones(3), np.array([0.5, -2.0, 1e-3])
    opt = fo.Adam({"old": old}, lr=0.1)
    for _ in range(5000):
        opt.step([g])
    d, new, fresh = opt.state_dict(), np.ones(3), np.ones(3)
    merged = fo.Adam({"old": old, "new": new}, lr=0.1)
    empty = merged.state_dict()
    d["state"]["new"], d["counts"]["new"] = empty["state"]["new"], 0
    d["groups"][0]["params"].append("new")
    merged.load_state_dict(d)
    merged.step([g, g])
    fo.Adam(fresh, lr=0.1).step(g)
    assert new.tobytes() == fresh.tobytes()
    assert np.allclose(new, 1 - 0.1 * np.sign(g), rtol=1e-4)
    assert merged.state_dict()["counts"] == {"old": 5001, "new": 1} and merged.t == 5001


def test_schedules_are_read_at_the_steps_of_the_optimizer():
    p = np.zeros(2)
    opt = fo.SGD({"a": p[:1], "b": p[1:]}, lr=lambda step: 1.0 + step)
    opt.load_state_dict(opt.state_dict() | {"t": 7, "counts": {"a": 0, "b": 9}})
    opt.step([np.ones(1), np.ones(1)])
    assert p.tolist() == [-8, -8]


@pytest.mark.parametrize("state_dtype", ["float32", "bfloat16", "q8"])
def test_random_bits_depend_on_a_parameters_own_count(state_dtype):
    n, counts = 300, (3, 0)
    dtypes = ("bfloat16", "float32", state_dtype)
    p = [initial(n, "float32").astype(ml_dtypes.bfloat16) for _ in counts]
    opt = fo.Adam(p, state_dtype=state_dtype, seed=9)
    opt.load_state_dict(opt.state_dict() | {"t": 8, "counts": dict(enumerate(counts))})
    expected, states = [x.view(np.uint16).copy() for x in p], [{}, {}]
    for k, g in enumerate(gradients(n, "float32", 4), 1):
        opt.step([g, g])
        for i, count in enumerate(counts):
            expected[i] = reference_storage.step(
                OPTIMIZERS["adam"][1], expected[i], g, states[i], count + k, dtypes=dtypes,
                squares=("v",), seed=9, tensor=i)
            assert p[i].view(np.uint16).tobytes() == expected[i].tobytes(), (i, k)


def test_the_same_counts_share_their_coefficients_whatever_they_were_before():
    """Counts that differ, then are equal: the bytes are those of a run that never differed."""
    g = [gradients(n, "float32", 9) for n in (50, 60)]
    once = [initial(n, "float32") for n in (50, 60)]
    twice = [x.copy() for x in once]
    opt, plain = fo.Adam(twice), fo.Adam(once)
    start = opt.state_dict()
    opt.load_state_dict(start | {"counts": {0: 4, 1: 7}})
    opt.step([g[0][0], g[1][0]])
    for p, n in zip(twice, (50, 60)):
        p[:] = initial(n, "float32")
    opt.load_state_dict(start)
    for k in range(9):
        for o in (opt, plain):
            o.step([g[0][k], g[1][k]])
    assert all(a.tobytes() == b.tobytes() for a, b in zip(once, twice))


@pytest.mark.parametrize("counts, error, match", [
    ({0: -1, 1: 0}, ValueError, r"the count of 0 must be in \[0, 9007199254740992\], got -1"),
    ({0: 0, 1: 2**53 + 1}, ValueError, "the count of 1 must be in"),
    ({0: 0, 1: 1.0}, TypeError, r"the count of 1 must be an integer, got 1\.0"),
    ({0: True, 1: 0}, TypeError, "the count of 0 must be an integer, got True"),
    ({0: 0}, ValueError, r"counts must hold \[0, 1\], got \[0\]"),
    ({0: 0, 1: 0, 2: 0}, ValueError, r"counts must hold \[0, 1\], got \[0, 1, 2\]"),
    ([0, 0], TypeError, "counts must be a mapping, got list"),
])
def test_refused_counts(counts, error, match):
    opt = fo.Adam([np.ones(2), np.ones(3)])
    with refused(error, match, opt):
        opt.load_state_dict(opt.state_dict() | {"t": 3, "counts": counts})
    opt.load_state_dict(opt.state_dict() | {"counts": {"0": np.int64(2**53), "1": 0}})
    assert opt.state_dict()["counts"] == {0: 2**53, 1: 0}
