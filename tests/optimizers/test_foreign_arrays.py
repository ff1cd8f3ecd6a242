"""Arrays that are not NumPy's own, and gradients that come in changing layouts."""

import numpy as np
import pytest

import fastoptim as fo

from support.foreign import Tensor
from support.refusal import refused


class Stubborn(np.ndarray):
    """A subclass that wants nothing to do with NumPy's functions."""

    def __array_function__(self, function, types, args, kwargs):
        return NotImplemented


def test_a_subclass_is_updated_as_the_array_that_it_is():
    base = np.ones(4)
    p, g = base[:2].view(Stubborn), base[2:].view(Stubborn)
    opt = fo.Momentum(p, lr=1.0, beta=0.5)
    opt.step(g)  # the ranges touch, so that sharing is looked at
    assert base.tolist() == [0.5, 0.5, 1.0, 1.0]
    assert type(opt.state[0]["v"]) is np.ndarray


@pytest.mark.parametrize("tensor, error, match", [
    pytest.param(Tensor(np.ones(3), (2, 0)), TypeError,
                 "grad 1 must lie in the memory of the CPU, got Tensor on DLPack device 2",
                 id="cuda"),
    pytest.param(Tensor(np.ones(3), None), TypeError, "grad 1 must be readable in place on the CPU",
                 id="no device"),
    pytest.param(Tensor(np.ones(3), ("cpu", 0)), TypeError, "grad 1 must be readable in place",
                 id="odd device"),
    pytest.param(Tensor(np.ones(3), error=BufferError("requires grad, detach it")), TypeError,
                 "grad 1 must be readable in place on the CPU, got Tensor: requires grad, detach",
                 id="raises"),
    pytest.param(Tensor(np.ones(3), error=KeyboardInterrupt("pressed")), KeyboardInterrupt,
                 "pressed", id="interrupt"),
    pytest.param(Tensor(np.ones(3, np.int64)), TypeError,
                 "grad 1 must have dtype float64 like parameter 1, got int64", id="int64"),
])
def test_foreign_arrays_that_cannot_be_read_are_refused(tensor, error, match):
    p = np.ones((2, 3))
    opt = fo.Adam([p[0], p[1]])
    with refused(error, match, p, opt):
        opt.step([np.ones(3), tensor])


def test_fresh_gradients_of_changing_forms_between_bound_ones():
    """The core remembers the form of the last gradient, and which ones it points to."""
    rng = np.random.default_rng(0)
    p, bound = rng.standard_normal((2, 3, 5))
    expected = p.copy()
    opt = fo.SGD(p, grads=bound, lr=0.5)
    wide = rng.standard_normal((3, 10))
    for grad in (None, wide[:, ::2], wide[:, 1::2], None, np.asfortranarray(bound), None,
                 bound[::-1], wide[:, :5].copy(), None):
        opt.step(None if grad is None else [grad])
        expected -= 0.5 * (bound if grad is None else grad)
        assert p.tobytes() == expected.tobytes()
        with pytest.raises(ValueError, match=r"^grad 0 must have shape \(3, 5\), got \(5, 3\)"):
            opt.step([bound.T])
        with pytest.raises(TypeError, match="^grad 0 must have dtype float64"):
            opt.step([bound.astype(np.float32)])
        assert p.tobytes() == expected.tobytes()


@pytest.mark.parametrize("arguments", [(), (0.1, None), (0.1, None, None, (), None)])
def test_the_cores_step_counts_its_arguments(arguments):
    step = fo.SGD(np.zeros(1), grads=np.zeros(1))._core
    with pytest.raises(TypeError, match="^run takes lr, grads, t and perhaps kept, got "
                       f"{len(arguments)} arg"):
        step.run(*arguments)
    with pytest.raises(TypeError, match="Step.__init__ must be called first"):
        type(step).__new__(type(step)).run(0.1, None, None)
