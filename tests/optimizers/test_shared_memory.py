"""Arrays that share memory: which may, and which are refused."""

import numpy as np
import pytest

import fastoptim as fo

from support.refusal import refused


@pytest.mark.parametrize("first, second", [
    pytest.param(lambda x: x, lambda x: x, id="same"),
    pytest.param(lambda x: x[:20], lambda x: x[19:], id="one element"),
    pytest.param(lambda x: x[::2], lambda x: x[::3], id="strides that meet"),
    pytest.param(lambda x: x[5:6], lambda x: x, id="within"),
    pytest.param(lambda x: x, lambda x: x[::-1], id="backwards"),
    pytest.param(lambda x: x.reshape(5, 8)[:, :4], lambda x: x.reshape(5, 8)[2], id="row, columns"),
    pytest.param(lambda x: x[:20], lambda x: x.view(np.uint8)[157:165].view(x.dtype),
                 id="one byte"),
    pytest.param(lambda x: x[:4], lambda x: x[2:].view(np.float32), id="other dtype"),
])
def test_two_parameters_that_overlap(first, second):
    memory = np.arange(40.0)
    apart = np.ones(3)
    for a, b in ((first, second), (second, first)):
        with refused(ValueError, "parameter ([02]) must not share memory with parameter ([02])$",
                     memory, apart):
            fo.Adam([a(memory), apart, b(memory)])
        with refused(ValueError, "parameter .* must not share memory with parameter", memory):
            fo.SGD([{"params": {"a": a(memory)}}, {"params": {"b": b(memory)}}])


@pytest.mark.parametrize("view", [
    pytest.param(lambda x: x, id="same"),
    pytest.param(lambda x: x[::-1], id="backwards"),
    pytest.param(lambda x: np.broadcast_to(x[7:8], (12,)), id="one element for all"),
])
def test_gradients_that_share_memory(view):
    p, q = np.arange(12.0), np.ones(12)
    opt = fo.Adam({"p": p, "q": q})
    opt.step({"p": np.ones(12), "q": np.ones(12)})
    cases = [(view(p), "parameter 'p'"), (view(q), "parameter 'q'"),
             (view(opt.state["q"]["v"]), "state 'v' of 'q'"),
             (view(opt.state["p"]["m"]), "state 'm' of 'p'")]
    for g, other in cases:
        with refused(ValueError, f"grad 'q' must not share memory with {other}$", opt):
            opt.step({"p": np.ones(12), "q": g})
        if other.startswith("parameter"):
            with refused(ValueError, f"grad 'q' must not share memory with {other}$", p, q):
                fo.Adam({"p": p, "q": q}, {"p": np.ones(12), "q": g})


def test_gradients_may_share_memory_with_one_another():
    p, q, g = np.zeros(2), np.zeros(2), np.ones(2)
    opt = fo.SGD([p, q], [g, g], lr=1.0)
    opt.step()
    opt.step([g, g[::-1]])
    assert p.tolist() == q.tolist() == [-2, -2]


@pytest.mark.parametrize("names", [("p", "g"), ("p", "m"), ("p", "v"), ("m", "v"), ("g", "m"),
                                   ("g", "v"), ("g", "v_max"), ("v", "v_max")])
def test_functional_arrays_that_share_memory(names):
    x = {name: np.full(4, k + 1.0) for k, name in enumerate(("p", "g", "m", "v", "v_max"))}
    x[names[1]] = x[names[0]][::-1]
    with refused(ValueError, "({0}|{1}) must not share memory with ({0}|{1})$".format(*names),
                 *x.values()):
        fo.adam_(**x, t=1, amsgrad=True)
