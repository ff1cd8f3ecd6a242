"""Arrays that were replaced in the caller's mappings and lists, which a step would not see."""

import gc
import types
import weakref
from collections import OrderedDict, UserDict, defaultdict

import numpy as np
import pytest

import fastoptim as fo

from support.refusal import refused


def params():
    return {"W": np.ones((2, 3)), "b": np.ones(3)}


def grads():
    return {"W": np.ones((2, 3)), "b": np.ones(3)}


class Odd(dict):
    """A dict whose items are not what its storage holds."""

    def __iter__(self):
        return iter(self.keys())

    def __getitem__(self, key):
        return super().__getitem__(key)[0]


MAPPINGS = {
    "dict": dict,
    "OrderedDict": OrderedDict,
    "defaultdict": lambda d: defaultdict(lambda: np.ones(3), d),
    "UserDict": UserDict,
    "a dict of its own": lambda d: Odd({name: [x] for name, x in d.items()}),
}
each_mapping = pytest.mark.parametrize("kind", MAPPINGS)
REBOUND = (r"^parameter 'W' must stay the array that the optimizer was made with, got another one "
           r"in params\['W'\], which was rebound: write in place, params\['W'\]\[...\] = value, or "
           r"make a new optimizer$")


def put(mapping, name, x):
    mapping[name] = [x] if isinstance(mapping, Odd) else x


@each_mapping
def test_a_parameter_that_was_rebound_is_refused_by_name(kind):
    given = MAPPINGS[kind](params())
    opt = fo.Adam(given)
    opt.step(grads())
    old = given["W"]
    put(given, "W", given["W"] / 5)
    for _ in range(2):
        with refused(ValueError, REBOUND, opt):
            opt.step(grads())
    put(given, "W", old)
    opt.step(grads())
    given["W"][...] /= 5
    opt.step(grads())
    assert opt.t == 3


@each_mapping
def test_a_parameter_that_is_gone_is_refused_by_name(kind):
    given = MAPPINGS[kind](params())
    opt = fo.Adam(given)
    del given["W"]
    with refused(ValueError, r"^params must hold parameter 'W' as long as the optimizer is used, "
                 "got none there: make a new optimizer of what is left$", opt):
        opt.step(grads())
    put(given, "V", np.ones(2))  # as many again
    with refused(ValueError, "^params must hold parameter 'W'", opt):
        opt.step(grads())


@each_mapping
def test_a_parameter_that_was_added_is_refused_by_name(kind):
    given = MAPPINGS[kind](params())
    opt = fo.Adam(given)
    put(given, "b2", np.ones(3))
    with refused(ValueError, r"^params must hold the arrays that the optimizer was made with, got "
                 "'b2' beside them: make a new optimizer, or give it a copy of the collection$",
                 opt):
        opt.step(grads())


def test_a_parameter_of_a_group_that_was_rebound_is_refused_by_name():
    first, second = {"a": np.ones(2)}, {"W": np.ones(3)}
    opt = fo.SGD([{"params": first}, {"params": second, "lr": 0.1}])
    second["W"] = second["W"].copy()
    with refused(ValueError, REBOUND, opt):
        opt.step([np.ones(2), np.ones(3)])


def test_an_item_of_a_list_that_was_replaced_is_refused_by_its_name():
    given = [np.ones(2), np.ones(3)]
    opt = fo.SGD(given)
    old, given[1] = given[1], given[1] / 2
    with refused(ValueError, r"^parameter 1 must stay the array that .* in params\[1\], which was "
                 r"rebound: write in place, params\[1\]\[...\] = value, or make", opt):
        opt.step([np.ones(2), np.ones(3)])
    given[1] = old
    given.append(np.ones(4))
    with refused(ValueError, "got 1 more: make a new optimizer, or give it a copy", opt):
        opt.step([np.ones(2), np.ones(3)])
    del given[1:]
    with refused(ValueError, "^params must hold parameter 1 as long as", opt):
        opt.step([np.ones(2), np.ones(3)])


def test_the_names_in_a_list_of_a_group_are_those_of_the_optimizer():
    given = [np.ones(2), np.ones(3)]
    opt = fo.SGD([{"params": np.ones(1)}, {"params": given}])
    given[1] = np.ones(3)
    with refused(ValueError, r"^parameter 2 must stay .* in params\[1\], which was rebound", opt):
        opt.step([np.ones(1), np.ones(2), np.ones(3)])


@pytest.mark.parametrize("collection", [dict, lambda d: list(d.values())], ids=["dict", "list"])
def test_a_bound_gradient_that_was_rebound_is_refused_by_name(collection):
    given = collection(grads())
    opt = fo.SGD(params(), grads=given)
    opt.step()
    key = next(iter(given)) if isinstance(given, dict) else 0
    given[key] = given[key] * 2
    with refused(ValueError, rf"^grad 'W' must stay the array that .* in grads\[{key!r}\], which "
                 r"was rebound: write in place, grads\[.*\]\[...\] = value, or give the gradients "
                 r"to step\(grads\)$", opt):
        opt.step()
    opt.step(given)  # the way out
    assert opt.t == 2


def test_bound_gradients_in_another_order_are_compared_by_name():
    given = dict(reversed(grads().items()))
    opt = fo.SGD(params(), grads=given)
    opt.step()
    given["b"] = given["b"] * 2
    with refused(ValueError, "^grad 'b' must stay the array", opt):
        opt.step()


def test_another_order_of_the_same_arrays_is_no_change():
    given = params()
    opt = fo.SGD(given, lr=1.0)
    given["W"] = given.pop("W")
    assert list(given) == ["b", "W"]
    opt.step(grads())
    assert opt.t == 1 and given["W"].max() == 0.0
    given["W"], given["b"] = given["b"], given["W"]
    with refused(ValueError, "^parameter 'W' must stay the array", opt):
        opt.step(grads())


def test_an_equal_key_is_the_same_name():
    given = params()
    opt = fo.SGD(given)
    w = given.pop("W")
    given["".join(["W"])] = w
    opt.step(grads())
    assert opt.t == 1


def test_what_cannot_be_rebound_or_is_a_copy_goes_on():
    given = params()
    for handed in (tuple(given.values()), iter(list(given.values())), dict(given),
                   list(given.values()), types.MappingProxyType(dict(given))):
        opt = fo.SGD(handed)
        given["W"], before = given["W"].copy(), given["W"]
        opt.step([np.ones((2, 3)), np.ones(3)])
        given["W"] = before
        assert opt.t == 1


def test_a_read_only_view_of_a_dict_is_watched_too():
    given = params()
    opt = fo.SGD(types.MappingProxyType(given))
    given["W"] = given["W"] * 2
    with refused(ValueError, REBOUND, opt):
        opt.step(grads())


def test_a_mapping_that_makes_its_arrays_anew_is_taken_once():
    class Views(UserDict):
        def __getitem__(self, name):
            return self.data[name][...]

    given = Views(params())
    opt = fo.SGD(given, lr=1.0)
    opt.step(grads())
    assert given["W"].max() == 0.0


def test_objects_that_are_no_numpy_arrays_are_compared_as_they_were_given():
    memory = {"W": bytearray(np.ones(4).tobytes())}
    views = {"W": memoryview(memory["W"]).cast("d")}
    opt = fo.SGD(views, lr=1.0)
    opt.step({"W": np.ones(4)})
    views["W"] = memoryview(memory["W"]).cast("d")
    with refused(ValueError, REBOUND, opt):
        opt.step({"W": np.ones(4)})


def test_a_mapping_that_raises_stops_the_step_before_it_begins():
    class Closing(UserDict):
        closed = False

        def __getitem__(self, name):
            if self.closed:
                raise OSError("closed")
            return self.data[name]

    given = Closing(params())
    opt = fo.SGD(given)
    given.closed = True
    with refused(OSError, "^closed$", opt):
        opt.step(grads())


def test_a_model_that_is_the_mapping_of_its_parameters_is_freed():
    class Model(UserDict):
        pass

    model = Model(params())
    model.opt = fo.Adam(model)
    model.opt.step(grads())
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
