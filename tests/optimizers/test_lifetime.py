"""What an optimizer keeps alive, and that it is let go of."""

import gc
import weakref

import numpy as np
import pytest

import fastoptim as fo


class Weights(np.ndarray):
    """An array that owns its memory and can refer to others."""

class Slotted(np.ndarray):
    __slots__ = ("model",)


@pytest.mark.parametrize("kind", [Weights, Slotted])
@pytest.mark.parametrize("bound", [False, True])
def test_an_array_that_refers_to_its_optimizer_is_freed(kind, bound):
    p = kind((1000,), np.float32)
    p[:] = 1
    g = kind((1000,), np.float32)
    g[:] = 1
    opt = fo.Adam({"p": p}, {"p": g} if bound else None, lr=1.0)
    p.model = [opt]
    g.model = {"optimizer": opt} if bound else None
    opt.step(None if bound else {"p": g})
    assert np.allclose(np.asarray(p), 0, atol=1e-6)
    gone = [weakref.ref(x) for x in (p, opt._core, opt.state["p"]["m"])] + [weakref.ref(g)] * bound
    del p, g, opt
    gc.collect()
    assert [ref() for ref in gone] == [None] * len(gone)


def test_the_collector_leaves_what_is_in_use():
    p = Weights((1000,))
    p[:] = 0
    p.model = fo.Momentum(p, lr=1.0, dampening=0.0)
    step = p.model._core.run
    del p
    for _ in range(3):
        gc.collect()
    step(1.0, [np.ones(1000)], None)
    found = [x for x in gc.get_objects() if type(x) is Weights and x.shape == (1000,)]
    assert any((np.asarray(x) == -1).all() for x in found)


def test_a_finalizer_may_step_an_optimizer_that_is_being_freed():
    ends = []

    class Last:
        def __init__(self, model):
            self.model = model

        def __del__(self):
            self.model.step(np.ones(3))
            ends.append(self.model.params[0].tolist())

    p = Weights((3,))
    p[:] = 0
    opt = fo.SGD(p, lr=1.0)
    p.last = Last(opt)
    del p, opt
    gc.collect()
    assert ends == [[-1.0] * 3]


def test_a_step_that_was_never_made_can_be_collected():
    step = type(fo.SGD(np.ones(1))._core)
    for _ in range(3):
        half = step.__new__(step)
        gc.collect()
    assert gc.is_tracked(half)
    with pytest.raises(TypeError):
        step(1, 2)
    gc.collect()
