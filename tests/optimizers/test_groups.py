"""Groups of parameters, their names, gradients and states."""

import gc
import weakref
from collections import defaultdict

import numpy as np
import pytest

import fastoptim as fo

from support.refusal import refused

# Groups


def test_groups_have_options_of_their_own_and_share_the_rest():
    w, b = np.ones(2), np.ones(1)
    opt = fo.SGD([{"params": {"w": w}, "weight_decay": 0.5}, {"params": {"b": b}, "lr": 0.25}],
                 lr=1.0, maximize=True)
    opt.step({"b": np.ones(1), "w": np.ones(2)})
    assert w.tolist() == [1.5, 1.5]  # 1 - 1*(-1 + 0.5*1)
    assert b.tolist() == [1.25]
    assert [group["params"] for group in opt.groups] == [("w",), ("b",)]
    assert [group["lr"] for group in opt.groups] == [1.0, 0.25]
    assert [group["weight_decay"] for group in opt.groups] == [0.5, 0.0]
    opt.lr = 2.0  # of those without one of their own
    assert [group["lr"] for group in opt.groups] == [2.0, 0.25]


def test_groups_may_hold_what_params_may_be():
    x = np.zeros((6, 2))
    opt = fo.SGD([{"params": x[0]}, {"params": [x[1], x[2]]}, {"params": {"named": x[3]}},
                  {"params": (row for row in x[4:5])}, {"params": []}, {"params": x[5]}], lr=1.0)
    assert list(opt.params) == [0, 1, 2, "named", 4, 5]
    opt.step([np.full(2, float(k)) for k in range(6)])
    assert x[:, 0].tolist() == [0, -1, -2, -3, -4, -5]


def test_a_group_is_a_mapping_that_can_be_assigned_to():
    p = np.zeros(2)
    group = fo.Adam(p, betas=(0.5, 0.5)).groups[0]
    assert list(group) == list(group.keys()) == list(dict(group)) == [
        "params", "lr", "weight_decay", "decoupled", "maximize", "betas", "eps", "amsgrad"]
    assert "lr" in group and "beta" not in group and len(group) == 8
    with pytest.raises(KeyError, match="beta"):
        group["beta"]
    assert repr(group) == ("Group(1 parameters, lr=0.001, weight_decay=0.0, decoupled=False, "
                           "maximize=False, betas=(0.5, 0.5), eps=1e-08, amsgrad=False)")


def test_assigned_options_count_from_the_next_step_on():
    p = np.ones(1)
    opt = fo.SGD(p, lr=1.0)
    group = opt.groups[0]
    opt.step(np.ones(1))
    assert p.item() == 0.0
    group["maximize"] = True
    opt.step(np.ones(1))
    assert p.item() == 1.0 and opt.groups[0]["maximize"] is True
    group["lr"] = fo.schedules.piecewise({0: 1.0, 2: 0.5})
    opt.step(np.ones(1))
    assert p.item() == 1.5 and group["lr"] == 0.5


@pytest.mark.parametrize("make, option, value, error, match", [
    (fo.Adam, "betas", (0.9, 1.0), ValueError, r"beta2 must be in \[0, 1\), got 1\.0"),
    (fo.Adam, "eps", -1e-8, ValueError, "eps must be finite and >= 0, got -1e-08"),
    (fo.Adam, "amsgrad", True, ValueError,
     "amsgrad must stay as it was when the optimizer was made, since other states go with True"),
    (fo.RMSProp, "momentum", 0.9, ValueError, "momentum must stay as it was"),
    (fo.RMSProp, "centered", True, ValueError, "centered must stay as it was"),
    (fo.Momentum, "nesterov", True, ValueError, "nesterov must stay as it was"),
    (fo.SGD, "beta", 0.9, KeyError,
     "the option must be among lr, weight_decay, decoupled, maximize, got 'beta'"),
    (fo.SGD, "params", [], KeyError, "the option must be among lr, .* got 'params'"),
])
def test_refused_assignments(make, option, value, error, match):
    opt = make(np.ones(2))
    with refused(error, match, opt):
        opt.groups[0][option] = value


@pytest.mark.parametrize("groups, error, match", [
    ([{"lr": 0.1}], ValueError, r"a group must hold 'params', got \['lr'\]"),
    ([{"params": np.ones(2), "momentum": 0.9}], TypeError,
     "a group of SGD takes the options lr, weight_decay, decoupled, maximize, got 'momentum'"),
    ([{"params": np.ones(2), "weight_decay": -1}], ValueError,
     "weight_decay must be finite and >= 0, got -1"),
    ([{"params": {"a": np.ones(2)}}, {"params": {"a": np.ones(2)}}], ValueError,
     "parameter 'a' must stand in one group only, got two"),
    ([{"params": []}, {"params": {}}], ValueError, "params must hold at least one array, got none"),
    ([{"params": np.ones(2)}, np.ones(2)], TypeError,
     r"parameter 0 must be an array \(NumPy, buffer protocol or DLPack\), got dict"),
    ([{"params": {1: np.ones(2)}}], TypeError, "params must be named by strings, got 1"),
])
def test_refused_groups(groups, error, match):
    with pytest.raises(error, match=match):
        fo.SGD(groups)


# Names and gradients


def test_arrays_of_a_sequence_are_named_by_position():
    opt = fo.Momentum((np.ones(2), np.ones(3)))
    assert list(opt.params) == list(opt.state) == [0, 1]
    assert list(fo.Momentum(np.ones(2)).params) == [0]
    assert list(fo.Momentum({"W": np.ones(2)}).params) == ["W"]


def test_gradients_come_by_name_or_in_order():
    p = {"b": np.zeros(1), "a": np.zeros(1)}
    opt = fo.SGD(p, lr=1.0)
    one, two = np.ones(1), np.full(1, 2.0)
    for k, grads in enumerate([{"a": two, "b": one}, [one, two], (one, two), iter([one, two]),
                               {"b": one, "a": two}.values()], 1):
        opt.step(grads)
        assert (p["b"].item(), p["a"].item()) == (-k, -2 * k)


def test_bound_gradients_come_by_name_too():
    p = {"b": np.zeros(1), "a": np.zeros(1)}
    opt = fo.SGD(p, {"a": np.full(1, 2.0), "b": np.ones(1)}, lr=1.0)
    opt.step()
    assert (p["b"].item(), p["a"].item()) == (-1, -2)


def test_a_bound_gradient_is_read_when_the_step_is_taken():
    p, g = np.zeros(2), np.zeros(2)
    opt = fo.SGD(p, grads=g, lr=1.0)
    g[:] = 5
    opt.step()
    assert p.tolist() == [-5, -5]


def test_a_defaultdict_is_not_asked_to_make_up_gradients():
    opt = fo.SGD({"a": np.ones(2), "b": np.ones(2)})
    grads = defaultdict(lambda: np.zeros(2), {"a": np.ones(2), "c": np.ones(2)})
    with refused(ValueError, r"grads must have the parameters' names, got missing \['b'\], "
                 r"unexpected \['c'\]", opt):
        opt.step(grads)
    assert list(grads) == ["a", "c"]


# State


def test_state_is_live():
    p = np.zeros(2)
    opt = fo.Momentum(p, lr=1.0, beta=0.5)
    v = opt.state[0]["v"]
    opt.step(np.ones(2))
    assert v.tolist() == [0.5, 0.5]
    v[:] = 8.0
    opt.step(np.zeros(2))
    assert p.tolist() == [-4.5, -4.5]


@pytest.mark.parametrize("p", [
    pytest.param(np.ones((3, 4)), id="C"),
    pytest.param(np.ones((3, 4), order="F"), id="F"),
    pytest.param(np.ones((6, 8))[::2, ::-2], id="strided"),
    pytest.param(np.ones(()), id="0-d"),
    pytest.param(np.ones((0, 3)), id="empty"),
    pytest.param(np.ones((300, 300)), id="of several blocks"),
])
def test_states_are_zero_and_like_the_parameter(p):
    for name, states in fo.RMSProp(p, centered=True, momentum=0.5).state.items():
        assert (name, list(states)) == (0, ["s", "mean", "velocity"])
        for x in states.values():
            assert (x.shape, x.dtype) == (p.shape, p.dtype) and not x.any()


def test_states_go_with_their_optimizer_not_with_the_garbage_collector():
    gc.disable()
    try:
        opt = fo.Adam(np.ones(3))
        opt.step(np.ones(3))
        opt.groups[0]["lr"] = 0.1
        m = weakref.ref(opt.state[0]["m"])
        del opt
        assert m() is None
    finally:
        gc.enable()
