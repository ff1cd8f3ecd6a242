"""What a state_dict holds, that a loaded run goes on, and which state_dicts are refused."""

import contextlib
import copy
import json
import pickle
import threading

import numpy as np
import pytest

import fastoptim as fo

from support.bits import all_arrays, same_bytes
from support.cases import CASES, DTYPES, OPTIMIZERS, gradients, initial, name_of
from support.refusal import refused

each_case = pytest.mark.parametrize("case", CASES, ids=name_of)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


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
