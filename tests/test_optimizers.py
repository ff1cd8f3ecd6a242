"""What optimizers do beside the arithmetic: options, rates, groups, states, saving."""

import contextlib
import copy
import gc
import inspect
import json
import pickle
import threading
import weakref
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest

import fastoptim as fo

from cases import CASES, DTYPES, OPTIMIZERS, gradients, initial, name_of
from refusal import refused

each_case = pytest.mark.parametrize("case", CASES, ids=name_of)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def same_bytes(a, b):
    return all(x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
               for x, y in zip(a, b, strict=True))


def all_arrays(opt):
    return [*opt.params.values(), *(x for s in opt.state.values() for x in s.values())]


# Learning rates


def test_the_rate_can_be_read_and_assigned():
    p = np.zeros(2)
    opt = fo.SGD(p, lr=1.0)
    assert opt.lr == 1.0
    opt.step(np.ones(2))
    opt.lr = 10
    opt.step(np.ones(2))
    assert opt.lr == 10.0 and p.tolist() == [-11.0, -11.0]


def test_a_schedule_is_asked_for_steps_0_1_2_and_so_on():
    asked = []

    def schedule(step):
        asked.append(step)
        return 10.0**-step

    p = np.zeros(1)
    opt = fo.SGD(p, lr=schedule)
    for _ in range(4):
        opt.step(np.ones(1))
    assert asked == [0, 1, 2, 3]
    assert p == pytest.approx([-1.111])
    assert opt.lr == 1e-4 and asked[-1] == 4  # that of the coming step
    opt.lr = 7.0
    opt.step(np.ones(1))
    assert p == pytest.approx([-8.111])


def test_an_assigned_schedule_goes_on_at_the_step_of_the_optimizer():
    opt = fo.SGD(np.zeros(1), lr=1.0)
    opt.step(np.ones(1))
    opt.lr = fo.schedules.piecewise({0: 1.0, 1: 0.5})
    assert opt.lr == 0.5


@pytest.mark.parametrize("given, error, match", [
    (-1.0, ValueError, r"must be finite and >= 0, got -1\.0"),
    (float("nan"), ValueError, "must be finite and >= 0, got nan"),
    (float("inf"), ValueError, "must be finite and >= 0, got inf"),
    ("0.1", TypeError, r"must be a number, got '0\.1'"),
    (True, TypeError, "must be a number, got True"),
    (1j, TypeError, "must be a number, got 1j"),
    (np.ones(1), TypeError, r"must be a number, got array\(\[1\.\]\)"),
])
def test_refused_rates(given, error, match):
    p = np.zeros(3)
    opt = fo.Adam([{"params": p[:2], "lr": 0.1}, {"params": p[2:]}])
    with refused(error, "lr " + match, opt):
        opt.lr = given
    with refused(error, "lr " + match, opt):
        opt.groups[0]["lr"] = given
    with refused(error, "lr " + match, p):
        fo.Adam(p, lr=given)
    with refused(error, "lr " + match, p):
        fo.Adam([{"params": p, "lr": given}])
    g = [np.ones(2), np.ones(1)]
    opt.lr = lambda step: given
    with refused(error, "the learning rate of step 0 " + match, p, opt):
        opt.step(g)
    opt.lr, opt.groups[1]["lr"] = 0.1, lambda step: given
    with refused(error, "the learning rate of step 0 " + match, p, opt):
        opt.step(g)


def test_none_is_no_rate():
    opt = fo.Adam(np.zeros(3))
    with refused(TypeError, "lr must be a number, got None", opt):
        opt.lr = None
    opt.lr = lambda step: None
    with refused(TypeError, "the learning rate of step 0 must be a number, got None", opt):
        opt.step(np.ones(3))


def test_a_schedule_that_raises_stops_the_step_before_it_begins():
    def schedule(step):
        raise LookupError(f"no rate for step {step}")

    p = np.zeros(3)
    opt = fo.Adam(p, lr=schedule)
    with refused(LookupError, "no rate for step 0", p):
        opt.step(np.ones(3))
    assert opt.t == 0 and not opt.state[0]["m"].any()


def test_a_schedule_that_steps_the_optimizer_itself_is_found_out():
    p = np.zeros(1)

    def schedule(step):
        opt.lr = 1.0
        opt.step(np.ones(1))
        return 100.0

    opt = fo.SGD(p, lr=schedule)
    with pytest.raises(RuntimeError, match="must be used by one thread at a time"):
        opt.step(np.ones(1))
    assert (opt.t, p.item()) == (1, -1.0)  # the inner step, whole; the outer one, not at all


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


# Saving


@each_dtype
@each_case
def test_a_loaded_run_goes_on_bit_for_bit(case, dtype):
    rule, options = case
    n = 131
    make = OPTIMIZERS[rule][0]
    p = initial(n, dtype)
    opt = make({"p": p}, lr=fo.schedules.inverse_sqrt(0.1), **options)
    grads = gradients(n, dtype, 20)
    for g in grads[:7]:
        opt.step({"p": g})
    saved, p_saved = opt.state_dict(), p.copy()
    for g in grads[7:]:
        opt.step({"p": g})
    aside = p_saved.copy()
    other = make({"p": aside}, lr=fo.schedules.inverse_sqrt(0.1), **options)
    other.step({"p": grads[9]})  # a life of its own, which ends with the load
    aside[:] = p_saved
    other.load_state_dict(saved)
    assert other.t == 7
    for g in grads[7:]:
        other.step({"p": g})
    assert same_bytes(all_arrays(opt), all_arrays(other))


def test_a_state_dict_is_a_plain_copy_of_the_moment():
    p = np.ones((2, 3), order="F")
    opt = fo.Adam([{"params": {"w": p}, "eps": 1e-4}], lr=0.5)
    opt.step([np.ones((2, 3))])
    d = opt.state_dict()
    before = copy.deepcopy(d)
    opt.step([np.ones((2, 3))])
    opt.groups[0]["eps"] = 1.0
    for name, x in before["state"]["w"].items():
        assert type(x) is np.ndarray and x.flags.f_contiguous
        assert np.array_equal(d["state"]["w"][name], x)
    del before["state"], d["state"]
    assert d == before == {
        "format": 2, "rule": "adam", "t": 1, "counts": {"w": 1}, "lr": 0.5,
        "storage": {"state_dtype": None, "seed": 0, "rounding": "stochastic", "master": False,
                    "uint16_is_bfloat16": False},
        "groups": [
            {"params": ["w"], "lr": None, "weight_decay": 0.0, "decoupled": False,
             "maximize": False, "betas": (0.9, 0.999), "eps": 1e-4, "amsgrad": False}]}


def test_a_state_dict_is_of_one_moment_whatever_other_threads_do():
    opt = fo.Momentum([np.zeros(60_000), np.zeros(60_000)], lr=1.0, dampening=0.0, beta=0.0)
    busy = "must be used by one thread at a time"
    stop = threading.Event()

    def step():
        k = 0
        while not stop.is_set():
            k += 1
            with contextlib.suppress(RuntimeError):  # that of a state_dict at the same time
                opt.step([np.full(60_000, float(k))] * 2)

    thread = threading.Thread(target=step)
    thread.start()
    try:
        taken = 0
        while taken < 30:
            try:
                d = opt.state_dict()
            except RuntimeError as error:
                assert busy in str(error)
                continue
            taken += 1
            for states in d["state"].values():  # one gradient, which is the same everywhere
                assert (states["v"] == d["state"][0]["v"][0]).all()
    finally:
        stop.set()
        thread.join()


def test_loading_takes_options_and_rates():
    def make(lr, group_lr, eps):
        return fo.Adam([{"params": {"a": np.ones(1)}, "lr": group_lr, "eps": eps},
                        {"params": {"b": np.ones(1)}}], lr=lr)

    saved = make(0.5, 0.25, 1e-3).state_dict()
    opt = make(0.1, 0.2, 1e-8)
    opt.load_state_dict(json.loads(json.dumps({**saved, "state": None}))
                        | {"state": saved["state"]})
    assert (opt.lr, [g["lr"] for g in opt.groups]) == (0.5, [0.25, 0.5])
    assert [g["eps"] for g in opt.groups] == [1e-3, 1e-8]
    assert opt.groups[0]["betas"] == (0.9, 0.999)


@pytest.mark.parametrize("saved_lr, here_lr, expected", [
    (0.5, 0.1, 0.5),
    (0.5, lambda step: 0.1, 0.1),
    (lambda step: 0.5, lambda step: 0.1, 0.1),
])
def test_a_schedule_here_stays_where_none_can_be_saved(saved_lr, here_lr, expected):
    opt = fo.SGD(np.ones(1), lr=here_lr)
    opt.load_state_dict(fo.SGD(np.ones(1), lr=saved_lr).state_dict())
    assert opt.lr == expected

    opt = fo.SGD([{"params": np.ones(1), "lr": here_lr}], lr=9.0)
    opt.load_state_dict(fo.SGD([{"params": np.ones(1), "lr": saved_lr}], lr=8.0).state_dict())
    assert (opt.lr, opt.groups[0]["lr"]) == (8.0, expected)


def test_the_order_of_names_in_a_saved_state_does_not_matter():
    params = {"b": np.ones(1), "a": np.ones(1)}
    opt = fo.Adam(params)
    d = opt.state_dict()
    d["state"] = {name: dict(reversed(d["state"][name].items())) for name in ("a", "b")}
    d["state"]["a"]["v"][:] = 3
    opt.load_state_dict(d)
    assert opt.state["a"]["v"] == 3 and opt.state["b"]["v"] == 0


def test_own_state_can_be_loaded():
    opt = fo.Momentum(np.ones(3))
    opt.step(np.ones(3))
    v = opt.state[0]["v"].copy()
    opt.load_state_dict({**opt.state_dict(), "state": opt.state})
    assert np.array_equal(opt.state[0]["v"], v)


def changed(*path, to):
    """Makes a state_dict wrong in one place; `to` is the new value there, or a function of it."""
    def change(d):
        for key in path[:-1]:
            d = d[key]
        d[path[-1]] = to(d[path[-1]]) if callable(to) else to
    return change


def without(*path):
    def change(d):
        for key in path[:-1]:
            d = d[key]
        del d[path[-1]]
    return change


A_STATE_DICT = (r"a state_dict must hold "
                r"\['format', 'rule', 't', 'counts', 'lr', 'storage', 'groups', 'state'\], got")


@pytest.mark.parametrize("change, error, match", [
    *((without(key), ValueError, A_STATE_DICT)
      for key in ("format", "rule", "t", "counts", "lr", "storage", "groups", "state")),
    (lambda d: d.update(more=1), ValueError, A_STATE_DICT),
    (changed("format", to=3), ValueError, "format must be 1 or 2, got 3"),
    (changed("rule", to="adamw"), ValueError, "rule must be 'adam', got 'adamw'"),
    (changed("t", to=-1), ValueError, r"t must be in \[0, 9007199254740992\], got -1"),
    (changed("t", to=1.0), TypeError, r"t must be an integer, got 1\.0"),
    (changed("t", to=True), TypeError, "t must be an integer, got True"),
    (changed("lr", to=None), TypeError, "lr must be a number, got None"),
    (changed("lr", to=-1.0), ValueError, r"lr must be finite and >= 0, got -1\.0"),
    (changed("lr", to=float("nan")), ValueError, "lr must be finite and >= 0, got nan"),
    (changed("groups", to=[]), ValueError, r"groups must be a list of 2, got \[\]"),
    (changed("groups", to=None), ValueError, "groups must be a list of 2, got None"),
    (changed("groups", 1, to=3), TypeError, "group 1 must be a mapping, got int"),
    (changed("groups", to=lambda g: g[::-1]), ValueError,
     r"params of group 0 must hold \['W'\], got \['b', 'c'\]"),
    (without("groups", 0, "params"), ValueError, r"group 0 must hold \['params', 'lr', .*got"),
    (without("groups", 0, "eps"), ValueError, r"group 0 must hold \['params', 'lr', .*got"),
    (changed("groups", 0, to=lambda g: g | {"beta": 0.9}), ValueError,
     r"group 0 must hold \['params', 'lr', .*got .*'beta'"),
    (changed("groups", 1, "lr", to=-1), ValueError,
     "lr of group 1 must be finite and >= 0, got -1"),
    (changed("groups", 1, "betas", to=(0.9, 1)), ValueError, r"beta2 must be in \[0, 1\), got 1"),
    (changed("groups", 1, "eps", to=None), TypeError, "eps must be a number, got None"),
    (changed("groups", 1, "maximize", to=1), TypeError, "maximize must be True or False, got 1"),
    (changed("groups", 1, "amsgrad", to=True), ValueError,
     r"group 1 must have options like adam\(.*amsgrad=False\), got adam\(.*amsgrad=True"),
    (changed("state", to=[]), TypeError, "state must be a mapping, got list"),
    (without("state", "c"), ValueError, r"state must hold \['W', 'b', 'c'\], got \['W', 'b'\]"),
    (changed("state", to=lambda s: s | {"d": {}}), ValueError, "state must hold .*, got .*'d'"),
    (changed("state", "c", to=None), TypeError, "state of 'c' must be a mapping, got NoneType"),
    (without("state", "c", "v"), ValueError,
     r"state of 'c' must hold \['m', 'v'\], got \['m'\]"),
    (changed("state", "c", "v", to=[1.0]), TypeError, "state 'v' of 'c' must be an array"),
    (changed("state", "c", "v", to=np.ones(1, np.float32)), TypeError,
     "state 'v' of 'c' must have dtype float64 like parameter 'c', got float32"),
    (changed("state", "c", "v", to=np.ones(())), ValueError,
     r"state 'v' of 'c' must have shape \(1,\), got \(\)"),
    (lambda d: d.clear(), ValueError, A_STATE_DICT + r" \[\]"),
])
def test_a_wrong_state_dict_changes_nothing(change, error, match):
    params = {"W": np.ones((2, 3)), "b": np.ones(3), "c": np.ones(1)}
    opt = fo.Adam([{"params": {"W": params.pop("W")}}, {"params": params, "lr": 0.2}], lr=0.1)
    opt.step([np.ones((2, 3)), np.ones(3), np.ones(1)])
    d = opt.state_dict()
    for states in d["state"].values():  # what must not be taken over
        for x in states.values():
            x += 5
    d["t"], d["lr"], d["groups"][0]["eps"] = 9, 0.7, 0.5
    change(d)
    with refused(error, match, opt):
        opt.load_state_dict(d)


@pytest.mark.parametrize("d", [None, [], "state", 3])
def test_what_is_no_state_dict_at_all(d):
    opt = fo.SGD(np.ones(1))
    with refused(TypeError, f"a state_dict must be a mapping, got {type(d).__name__}", opt):
        opt.load_state_dict(d)


def test_a_state_that_is_locked_is_found_before_the_first_is_loaded():
    opt = fo.Momentum([np.ones(2), np.ones(2)])
    d = opt.state_dict()
    d["state"][0]["v"] += 1
    opt.state[1]["v"].flags.writeable = False
    with refused(ValueError, "state 'v' of 1 must be writable, got a read-only array", opt):
        opt.load_state_dict(d)


@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
def test_optimizers_are_not_copied_behind_their_arrays(take):
    opt = fo.Adam(np.ones(2))
    with pytest.raises(TypeError, match=r"Adam must not be copied or pickled.*state_dict\(\)"):
        take(opt)


# Rules


@each_dtype
@pytest.mark.parametrize("options", [{}, {"amsgrad": True}, {"weight_decay": 0.1}], ids=str)
def test_adamw_is_adam_with_decoupled_decay(options, dtype):
    n = 200
    a = fo.AdamW(initial(n, dtype), **options)
    b = fo.Adam(initial(n, dtype), **{"weight_decay": 0.01, "decoupled": True} | options)
    for g in gradients(n, dtype, 10):
        a.step(g)
        b.step(g)
    assert same_bytes(all_arrays(a), all_arrays(b))


FUNCTIONS = {"sgd": fo.sgd_, "momentum": fo.momentum_, "rmsprop": fo.rmsprop_, "adam": fo.adam_}


@each_dtype
@pytest.mark.parametrize("case", [case for case in CASES if case[0] in FUNCTIONS], ids=name_of)
def test_the_functional_layer_takes_the_same_steps(case, dtype):
    rule, options = case
    n = 131
    opt = OPTIMIZERS[rule][0](initial(n, dtype), lr=0.1, **options)
    p, states = initial(n, dtype), {s: np.zeros(n, dtype) for s in opt.state[0]}
    for t, g in enumerate(gradients(n, dtype, 5), 1):
        opt.step(g)
        counted = {} if rule == "sgd" else {"t": t}
        assert FUNCTIONS[rule](p, g, **states, **counted, lr=0.1, **options) is None
    assert same_bytes(all_arrays(opt), [p, *states.values()])


@pytest.mark.parametrize("make", [fo.SGD, fo.Momentum, fo.RMSProp, fo.Adam, fo.AdamW])
def test_signatures_state_the_defaults(make):
    signature = inspect.signature(make)
    opt = make(np.ones(1))
    for option in set(opt.groups[0]) - {"params"}:
        assert signature.parameters[option].default == opt.groups[0][option]
        assert signature.parameters[option].kind == inspect.Parameter.KEYWORD_ONLY
    storage = {"state_dtype", "seed", "rounding", "master", "uint16_is_bfloat16"}
    given = {name for name, parameter in signature.parameters.items()
             if parameter.kind != inspect.Parameter.VAR_KEYWORD}  # which refuses unknown options
    assert given == {"params", "grads"} | set(opt.groups[0]) | storage
    with pytest.raises(TypeError):
        make(np.ones(1), None, 0.1)


def test_the_base_class_names_those_to_use():
    with pytest.raises(TypeError, match="use SGD, Momentum, RMSProp, (.*, )?Adam or AdamW"):
        fo.Optimizer(np.ones(1))


def test_repr():
    opt = fo.Momentum([np.ones((10, 200), np.float32), np.ones(5)], lr=0.1)
    assert repr(opt) == (
        "Momentum(lr=0.1, weight_decay=0.0, decoupled=False, maximize=False, beta=0.9, "
        "dampening=None, dampen_first=True, nesterov=False, bias_correction=False; t=0, 2 arrays, "
        "2,005 parameters, 8,040 bytes of state)")
    opt = fo.AdamW([{"params": np.ones(3)}, {"params": np.ones(4)}],
                   lr=fo.schedules.exponential(0.1))
    opt.step([np.ones(3), np.ones(4)])
    assert repr(opt) == (
        "AdamW(lr=exponential(lr=0.1, steps_per_epoch=1, base=0.95), 2 groups; t=1, 2 arrays, "
        "7 parameters, 112 bytes of state)")


NUMBER = "must be a number, got"
SIGN = "must be finite and >= 0, got"
UNIT = r"must be in \[0, 1\), got"
FLAG = "must be True or False, got"
BAD_SIGNED = [(-1, ValueError, SIGN), (-1e-300, ValueError, SIGN), (float("nan"), ValueError, SIGN),
              (float("inf"), ValueError, SIGN), ("1", TypeError, NUMBER), (True, TypeError, NUMBER),
              ([1], TypeError, NUMBER), (1j, TypeError, NUMBER)]
BAD_UNIT = [(1, ValueError, UNIT), (1.5, ValueError, UNIT), (-0.1, ValueError, UNIT),
            (float("nan"), ValueError, UNIT), ("0", TypeError, NUMBER), (False, TypeError, NUMBER)]
BAD_FLAG = [(1, TypeError, FLAG), (None, TypeError, FLAG), ("True", TypeError, FLAG)]
OF_ALL = {"weight_decay": BAD_SIGNED, "decoupled": BAD_FLAG, "maximize": BAD_FLAG}
BAD_OPTIONS = {
    "sgd": OF_ALL,
    "momentum": OF_ALL | {"beta": BAD_UNIT, "dampening": BAD_UNIT, "dampen_first": BAD_FLAG,
                          "nesterov": BAD_FLAG, "bias_correction": BAD_FLAG},
    "rmsprop": OF_ALL | {"beta": BAD_UNIT, "eps": BAD_SIGNED, "centered": BAD_FLAG,
                         "momentum": BAD_UNIT, "bias_correction": BAD_FLAG,
                         "eps_inside_sqrt": BAD_FLAG},
    "adam": OF_ALL | {"eps": BAD_SIGNED, "amsgrad": BAD_FLAG},
}
EACH_BAD_OPTION = [(rule, option, *bad) for rule, options in BAD_OPTIONS.items()
                   for option, all_bad in options.items() for bad in all_bad]


@pytest.mark.parametrize("rule, option, value, error, match", EACH_BAD_OPTION)
def test_refused_options(rule, option, value, error, match):
    p = np.ones(2)
    make = OPTIMIZERS[rule][0]
    with refused(error, f"{option} {match}", p):
        make(p, **{option: value})
    with refused(error, f"{option} {match}", p):
        make([{"params": p, option: value}])
    states = [np.ones(2) for _ in make(p).state[0]]
    with refused(error, f"{option} {match}", p, *states):
        counted = {} if rule == "sgd" else {"t": 1}
        FUNCTIONS[rule](p, np.ones(2), *states, **counted, **{option: value})
    opt = make(p)
    with refused(error, f"{option} {match}", opt):
        opt.groups[0][option] = value


@pytest.mark.parametrize("rule", BAD_OPTIONS)
def test_every_option_is_in_that_table(rule):
    options = set(OPTIMIZERS[rule][0](np.ones(1)).groups[0]) - {"params", "lr", "betas"}
    assert options == set(BAD_OPTIONS[rule])


@pytest.mark.parametrize("betas, error, match", [
    (0.9, TypeError, r"betas must be two numbers \(beta1, beta2\), got 0\.9"),
    ((0.9,), TypeError, "betas must be two numbers"),
    ((0.9, 0.9, 0.9), TypeError, "betas must be two numbers"),
    ("ab", TypeError, "betas must be two numbers"),
    ((1.0, 0.9), ValueError, r"beta1 must be in \[0, 1\), got 1\.0"),
    ((0.9, -0.1), ValueError, r"beta2 must be in \[0, 1\), got -0\.1"),
    ((0.9, None), TypeError, "beta2 must be a number, got None"),
])
def test_refused_betas(betas, error, match):
    p = np.ones(2)
    for make in (fo.Adam, fo.AdamW):
        with refused(error, match, p):
            make(p, betas=betas)


def test_bias_correction_and_dampening_exclude_one_another():
    with pytest.raises(ValueError, match="bias_correction must be False with dampening"):
        fo.Momentum(np.ones(1), dampening=0.5, bias_correction=True)


RANGE = r" must be 0 or in \[1\.4e-45, 3\.4e\+38\] in float32, got "
FINITE = "lr and the options must give factors that are finite in float32, got lr = "


@pytest.mark.parametrize("make, options, match", [
    (fo.SGD, {"lr": 1e39}, "^lr" + RANGE + r"1e\+39"),
    (fo.SGD, {"weight_decay": 1e39}, "^weight_decay" + RANGE + r"1e\+39"),
    (fo.SGD, {"lr": 1e20, "weight_decay": 1e20, "decoupled": True}, FINITE + r"1e\+20"),
    (fo.RMSProp, {"eps": 1e39}, "^eps" + RANGE + r"1e\+39"),
    (fo.Adam, {"lr": 1e38, "betas": (0.99, 0.999)}, FINITE),  # lr/(1 - beta1) is what overflows
    # What would become 0 there: with a gradient of 0, Adam would divide 0 by it.
    (fo.Adam, {"eps": 1e-46}, "^eps" + RANGE + "1e-46"),
    (fo.AdamW, {"eps": 1e-300}, "^eps" + RANGE + "1e-300"),
    (fo.Adam, {"betas": (1e-50, 0.999)}, "^beta1" + RANGE + "1e-50"),
    (fo.Adam, {"betas": (0.9, 1e-50)}, "^beta2" + RANGE + "1e-50"),
    (fo.RMSProp, {"eps": 1e-46}, "^eps" + RANGE + "1e-46"),
    (fo.RMSProp, {"eps": 1e-46, "eps_inside_sqrt": True}, "^eps" + RANGE + "1e-46"),
    (fo.RMSProp, {"momentum": 1e-46}, "^momentum" + RANGE + "1e-46"),
    (fo.RMSProp, {"beta": 1e-46}, "^beta" + RANGE + "1e-46"),
    (fo.Momentum, {"beta": 1e-46}, "^beta" + RANGE + "1e-46"),
    (fo.SGD, {"weight_decay": 1e-46}, "^weight_decay" + RANGE + "1e-46"),
    (fo.SGD, {"lr": 1e-50}, "^lr" + RANGE + "1e-50"),
    (fo.SGD, {"lr": lambda step: 1e-50}, "^lr" + RANGE + "1e-50"),
])
def test_options_that_do_not_fit_into_float32_are_refused_there_only(make, options, match):
    p, q = np.ones(2, np.float32), np.ones(2)
    opt = make({"q": q, "p": p}, **options)
    with refused(ValueError, match, p, q, opt):
        opt.step([np.ones(2), np.zeros(2, np.float32)])
    with refused(ValueError, match, p):
        make(p.astype(np.float16), **options).step(p)
    opt = make(q, **options)
    with np.errstate(all="ignore"):
        opt.step(np.ones(2))
    assert opt.t == 1


@pytest.mark.parametrize("options", [{"eps": 1e-45}, {"eps": 0.0}, {"lr": 0.0},
                                     {"weight_decay": 1e-50, "decoupled": True}], ids=str)
def test_options_at_the_end_of_float32_are_taken(options):
    p = np.ones(2, np.float32)
    opt = fo.Adam(p, **options)
    for t in (1, 2):
        opt.step(np.array([0, 1e-3] if options.get("eps", 1) else [1, 1e-3], np.float32))
        assert np.isfinite(p).all() and opt.t == t


def test_the_functional_layer_refuses_an_epsilon_that_becomes_zero():
    p, g, m, v = np.ones((4, 3), np.float32)
    g[:] = 0
    with refused(ValueError, "^eps" + RANGE + "1e-46", p, m, v):
        fo.adam_(p, g, m, v, t=1, eps=1e-46)


def test_factors_that_overflow_float64_are_refused():
    opt = fo.SGD(np.ones(2), lr=1e200, weight_decay=1e200, decoupled=True)
    with refused(ValueError, r"finite in float64, got lr = 1e\+200 and weight_decay = 1e\+200",
                 opt):
        opt.step(np.ones(2))


@pytest.mark.parametrize("step, error, match", [
    (lambda *x: fo.adam_(*x[:4], t=0), ValueError, r"t must be in \[1, 9007199254740992\], got 0"),
    (lambda *x: fo.adam_(*x[:4], t=1.0), TypeError, r"t must be an integer, got 1\.0"),
    (lambda *x: fo.adam_(*x[:4], t=None), TypeError, "t must be an integer, got None"),
    (lambda *x: fo.adam_(*x[:4], t=1, lr=lambda step: 1.0), TypeError, "lr must be a number"),
    (lambda *x: fo.adam_(*x[:4], t=1, lr=-1), ValueError, "lr must be finite and >= 0, got -1"),
    (lambda *x: fo.adam_(*x[:4], t=1, amsgrad=True), ValueError,
     "v_max must be an array like p with these options, got None"),
    (lambda *x: fo.adam_(*x[:4], t=1, v_max=x[4]), ValueError,
     "v_max must be None with these options, got an array"),
    (lambda *x: fo.adam_(*x[:4], t=1, beta=0.9), TypeError,
     "adam_ takes the options lr, weight_decay, decoupled, maximize, betas, eps, amsgrad, seed, "
     "rounding, got 'beta'; did you mean 'betas'"),
    (lambda *x: fo.momentum_(*x[:3], bias_correction=True), TypeError,
     "t must be an integer, got None"),
    (lambda *x: fo.momentum_(*x[:3], dampening=0.5, dampen_first=False), TypeError,
     "t must be an integer, got None"),
    (lambda *x: fo.momentum_(x[0], x[1], None), ValueError,
     "v must be an array like p with these options, got None"),
    (lambda *x: fo.rmsprop_(*x[:3], centered=True), ValueError,
     "mean must be an array like p with these options, got None"),
    (lambda *x: fo.rmsprop_(*x[:3], velocity=x[3]), ValueError,
     "velocity must be None with these options, got an array"),
    (lambda *x: fo.rmsprop_(*x[:3], bias_correction=True), TypeError,
     "t must be an integer, got None"),
])
def test_refused_arguments_of_the_functional_layer(step, error, match):
    arrays = [np.full(2, float(k)) for k in range(5)]
    with refused(error, match, *arrays):
        step(*arrays)

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
