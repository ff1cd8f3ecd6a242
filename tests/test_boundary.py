"""What a step accepts, and what it refuses before the first byte changes."""

import pickle
import sys

import numpy as np
import pytest

import fastoptim as fo

from refusal import refused

# After binding


@pytest.mark.parametrize("make", [
    pytest.param(lambda x: pickle.loads(pickle.dumps(x)), id="unpickled"),
    pytest.param(lambda x: x.astype(np.dtype(x.dtype, metadata={"unit": "m"})), id="metadata"),
])
def test_bound_arrays_may_have_equal_but_distinct_dtype_objects(make):
    for p, g in [(make(np.zeros(3)), np.ones(3)), (np.zeros(3), make(np.ones(3)))]:
        assert p.dtype is not g.dtype
        opt = fo.Momentum(p, grads=g, lr=1.0, beta=0.5)
        opt.step()
        opt.step()
        assert p.tolist() == [-1.25] * 3


def test_a_given_gradient_replaces_the_bound_one_for_that_step_only():
    p, g, h = np.zeros(4), np.full(4, 1.0), np.full((4, 2), 10.0)[:, 0]
    opt = fo.SGD(p, grads=g, lr=1.0)
    for expected, grads in ((-1.0, None), (-11.0, h), (-21.0, h), (-22.0, None)):
        opt.step(grads)
        assert p.tolist() == [expected] * 4


def test_a_refused_gradient_does_not_take_the_place_of_the_bound_one():
    p, q = np.zeros(2), np.zeros(2)
    opt = fo.SGD([p, q], grads=[np.ones(2), np.ones(2)], lr=1.0)
    with refused(ValueError, "grad 1 must have shape", p, q, opt):
        opt.step([np.full(2, 5.0), np.ones(3)])
    opt.step()
    assert p.tolist() == q.tolist() == [-1.0, -1.0]


def test_no_gradient_is_kept_alive():
    p, g = np.zeros(3), np.ones(3)
    opt = fo.SGD([p, np.zeros(4)])
    count = sys.getrefcount(g)
    opt.step([g, np.ones(4)])
    assert sys.getrefcount(g) == count
    with refused(ValueError, "grad 1 must have shape", p, opt):
        opt.step([g, np.ones(5)])
    assert sys.getrefcount(g) == count


def reshape(x):
    x.shape = (2, 3)


def resize(x):
    x.resize(7, refcheck=False)


def retype(x):
    x.dtype = np.int64


def restride(x):
    x.strides = (0,)


# NumPy may come to forbid the attribute in question, and warns before it does.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("change", [reshape, resize, retype, restride])
@pytest.mark.parametrize("which", ["parameter", "state", "grad"])
def test_arrays_whose_header_was_rewritten_after_binding_are_refused(which, change):
    p, g = np.arange(6.0), np.ones(6)
    opt = fo.Momentum({"W": p}, grads={"W": g})
    opt.step()
    changed = {"parameter": p, "grad": g, "state": opt.state["W"]["v"]}[which]
    if (which, change) == ("state", resize):  # NumPy sees that the memory is not the array's own
        with refused(ValueError, "does not own its data", p, g, opt):
            change(changed)
        return
    change(changed)
    with refused(ValueError, f"{which} ('v' of )?'W' must stay the array that it was when it was "
                 "bound, got one whose size, shape, strides or dtype was changed", p, g, opt):
        opt.step()
    if which != "grad":
        with refused(ValueError, "must stay the array that it was", p, opt):
            opt.step({"W": np.ones(6)})


def test_arrays_made_read_only_after_binding_are_refused():
    p, q = np.zeros(2), np.zeros(2)
    opt = fo.Momentum({"p": p, "q": q}, grads={"p": np.ones(2), "q": np.ones(2)})
    q.flags.writeable = False
    with refused(ValueError, "parameter 'q' must be writable, got a read-only array", p, q, opt):
        opt.step()
    q.flags.writeable = True
    opt.state["q"]["v"].flags.writeable = False
    with refused(ValueError, "state 'v' of 'q' must be writable, got a read-only", p, q, opt):
        opt.step()
    opt.state["q"]["v"].flags.writeable = True
    opt.step()
    assert opt.t == 1


# Memory of others


class Tensor:
    """A foreign array: all that is known of it is DLPack."""

    def __init__(self, x, device=(1, 0), error=None):
        self.x, self.device, self.error = x, device, error

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, **options):
        if self.error:
            raise self.error
        return self.x.__dlpack__(**options)


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


def test_masked_arrays_are_refused():
    p, masked = np.ones(3), np.ma.masked_array(np.ones(3), mask=[0, 1, 0])
    with refused(TypeError, "parameter 0 must be a plain array, got a masked array", masked.data):
        fo.SGD(masked)
    opt = fo.SGD({"W": p})
    with refused(TypeError, "grad 'W' must be a plain array, got a masked array", opt):
        opt.step({"W": masked})


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
