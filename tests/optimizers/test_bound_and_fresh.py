"""Arrays between binding and step: what may change, and what Python runs meanwhile."""

import contextlib
import gc
import pickle
import signal
import weakref

import numpy as np
import pytest

import fastoptim as fo

from support.foreign import Tensor
from support.refusal import refused

# While it runs


def test_a_list_of_gradients_that_shrinks_while_it_is_read():
    grads = []

    class Shrinks(Tensor):
        def __dlpack__(self, **options):
            del grads[1:]
            return super().__dlpack__(**options)

    p = np.ones((3, 2))
    opt = fo.Adam(list(p))
    grads[:] = [Shrinks(np.ones(2)), np.ones(2), np.ones(2)]
    with refused(IndexError, "index", p, opt):
        opt.step(grads)


def test_a_gradient_that_rewrites_its_parameter_while_it_is_read():
    class Rewrites(Tensor):
        def __dlpack__(self, **options):
            p.resize(1000, refcheck=False)  # which moves it
            return super().__dlpack__(**options)

    p = np.ones(2)
    opt = fo.SGD([p, np.ones(2)])
    with pytest.raises(ValueError, match="parameter 0 must stay the array that it was"):
        opt.step([np.ones(2), Rewrites(np.ones(2))])
    assert opt.t == 0 and not p[2:].any()


def test_a_gradient_that_steps_its_optimizer_while_it_is_read():
    class Steps(Tensor):
        def __dlpack__(self, **options):
            opt.step(np.ones(2))
            return super().__dlpack__(**options)

    p = np.ones(2)
    opt = fo.SGD(p)
    with refused(TypeError, "grad 0 must be readable in place on the CPU, got Steps: an optimizer "
                 "must be used by one thread at a time", p, opt):
        opt.step(Steps(np.ones(2)))
    opt.step(np.ones(2))
    assert opt.t == 1


def test_parameters_and_gradients_outlive_their_names():
    base = np.zeros((200, 1000))
    opt = fo.Momentum([row[::2] for row in base], grads=[np.ones(500) for _ in base], lr=1.0,
                      dampening=0.0)
    kept = base[3]
    del base
    gc.collect()
    np.ones((200, 1000)).sum()  # would land where something was freed
    opt.step()
    assert (kept[::2] == -1).all() and not kept[1::2].any()
    states = opt.state
    del opt
    gc.collect()
    assert all((x["v"] == 1).all() for x in states.values())


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
def test_interrupts_leave_whole_steps():
    class Interrupt(Exception):
        pass

    def interrupt(number, frame):
        raise Interrupt

    p, g = np.zeros(200_000), np.ones(200_000)
    opt = fo.SGD(p, grads=g, lr=1.0)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for k in range(20):
            with contextlib.suppress(Interrupt):
                signal.setitimer(signal.ITIMER_REAL, 1e-4 * (k + 1))
                while True:
                    opt.step()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert opt.t > 0 and (p == -opt.t).all()
    opt.step()
    assert (p == -opt.t).all()


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
    opt = fo.SGD([np.zeros(3), np.zeros(4)])
    for length in (4, 5):
        g = np.ones(3)
        gone = weakref.ref(g)
        # No traceback is kept either: a frame in it would hold the list.
        with contextlib.suppress(ValueError):
            opt.step([g, np.ones(length)])
        del g
        assert gone() is None
    assert opt.t == 1


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
