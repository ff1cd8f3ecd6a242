"""Saving and loading: schedules and names, which a file may hold otherwise."""

import json

import ml_dtypes
import numpy as np
import pytest

import fastoptim as fo

from support.refusal import refused

SCHEDULES = [
    fo.schedules.constant(0.3),
    fo.schedules.inverse_time(0.3, decay_rate=0.7, steps_per_epoch=2),
    fo.schedules.exponential(np.float64(0.3), base=0.9),
    fo.schedules.inverse_sqrt(0.3, k=1.5),
    fo.schedules.staircase(1, every=np.int64(3), factor=0.1),
    fo.schedules.piecewise({0: 0.3, 2: 1 / 3, 5: 1}, steps_per_epoch=2),
]
each_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


def through_json(d):
    """What a user of JSON has in hand again: names and keys as strings, arrays as lists."""
    plain = json.loads(json.dumps(d, default=lambda x: x.tolist()))
    for name, states in plain["state"].items():
        original = d["state"].get(name, d["state"].get(int(name) if name.isdigit() else None))
        for s in states:
            states[s] = np.array(states[s], original[s].dtype).reshape(original[s].shape)
    return plain


# Schedules


@each_schedule
def test_a_schedule_of_the_package_is_saved_and_restored(schedule):
    p, q = np.zeros(1), np.zeros(1)
    opt = fo.SGD(p, lr=schedule)
    for _ in range(3):
        opt.step(np.ones(1))
    q[:] = p
    other = fo.SGD(q)  # with the default, a number
    other.load_state_dict(through_json(opt.state_dict()))
    assert repr(other) == repr(opt).replace("np.float64(0.3)", "0.3").replace("np.int64(3)", "3")
    for _ in range(9):
        opt.step(np.ones(1))
        other.step(np.ones(1))
        assert (opt.lr, p.item()) == (other.lr, q.item())
    again = fo.SGD(np.zeros(1), lr=schedule)
    again.load_state_dict(opt.state_dict())
    assert again.lr == opt.lr


@each_schedule
def test_a_schedule_of_a_group_is_restored(schedule):
    opt = fo.SGD([{"params": np.zeros(1), "lr": schedule}, {"params": np.zeros(1)}], lr=0.5)
    other = fo.SGD([{"params": np.zeros(1)}, {"params": np.zeros(1), "lr": 0.1}])
    opt.step([np.ones(1)] * 2)
    other.load_state_dict(opt.state_dict())
    assert [g["lr"] for g in other.groups] == [schedule(1), 0.5]
    other.step([np.ones(1)] * 2)  # not at one fixed rate
    assert [g["lr"] for g in other.groups] == [schedule(2), 0.5]


def test_a_state_dict_holds_schedules_as_plain_values():
    opt = fo.SGD([{"params": np.zeros(1), "lr": fo.schedules.piecewise({0: 0.3, 2: 0.1})}],
                 lr=fo.schedules.exponential(0.5))
    d = opt.state_dict()
    assert d["lr"] == {"schedule": "exponential", "lr": 0.5, "steps_per_epoch": 1, "base": 0.95}
    assert d["groups"][0]["lr"] == {"schedule": "piecewise", "table": [[0, 0.3], [2, 0.1]],
                                    "steps_per_epoch": 1}


class Warmup:
    def __call__(self, step):
        return 0.1 * step

    def __repr__(self):
        return "Warmup()"


UNKNOWN = (r"must be a schedule, as it was when the state was saved \(a schedule Warmup\(\), "
           r"which a state cannot hold\), got {}: make the optimizer with it")


def test_a_run_with_a_schedule_of_its_own_goes_on_with_one_or_not_at_all():
    d = fo.SGD(np.zeros(1), lr=Warmup()).state_dict()
    assert d["lr"] == {"callable": "Warmup()"}
    d["t"] = d["counts"][0] = 5
    opt = fo.SGD(np.zeros(1), lr=0.001)
    with refused(ValueError, "^lr " + UNKNOWN.format(r"0\.001") + ", or pass lr= to", opt):
        opt.load_state_dict(d)
    opt.load_state_dict(d, lr=0.25)
    assert opt.lr == 0.25 and opt.t == 5
    opt.load_state_dict(d, lr=Warmup())
    assert opt.lr == 0.5
    opt = fo.SGD(np.zeros(1), lr=Warmup())
    opt.load_state_dict(d)
    assert opt.lr == 0.5

    d = fo.SGD([{"params": np.zeros(1), "lr": Warmup()}]).state_dict()
    opt = fo.SGD(np.zeros(1))
    with refused(ValueError, "^lr of group 0 " + UNKNOWN.format("None") + "$", opt):
        opt.load_state_dict(d)


def test_a_schedule_whose_numbers_are_not_plain_is_not_half_saved():
    d = fo.SGD(np.zeros(1), lr=fo.schedules.constant(np.float32(0.1))).state_dict()
    assert list(d["lr"]) in (["callable"], ["schedule", "lr"])
    json.dumps(d["lr"])


def test_another_schedule_than_the_saved_one_is_not_chosen_between():
    d = fo.SGD(np.zeros(1), lr=fo.schedules.exponential(0.5)).state_dict()
    for other in (fo.schedules.exponential(0.4), fo.schedules.constant(0.5), Warmup()):
        opt = fo.SGD(np.zeros(1), lr=other)
        with refused(ValueError, "^lr must be the schedule that was saved, exponential.*, got .*: "
                     "to go on with another schedule than the saved one, pass lr=", opt):
            opt.load_state_dict(d)
        opt.load_state_dict(d, lr=other)
        assert opt.lr == other(0)


@pytest.mark.parametrize("lr, error, match", [
    (-1, ValueError, "lr must be finite and >= 0, got -1"),
    ("0.1", TypeError, "lr must be a number, got '0.1'"),
])
def test_a_rate_to_go_on_with_is_checked(lr, error, match):
    opt = fo.Adam(np.ones(2))
    with refused(error, match, opt):
        opt.load_state_dict(opt.state_dict() | {"t": 5}, lr=lr)


@pytest.mark.parametrize("value, error, match", [
    ({"schedule": "cosine", "lr": 0.1}, ValueError,
     "^lr must be one of constant, .*, staircase, got {'schedule': 'cosine'"),
    ({}, ValueError, "^lr must be one of constant"),
    ({"schedule": "constant"}, ValueError, r"^lr must hold \['lr'\] of constant, got"),
    ({"schedule": "constant", "lr": -1}, ValueError, "lr must be finite and >= 0, got -1"),
    ({"schedule": "piecewise", "table": [1], "steps_per_epoch": 1}, ValueError,
     "^lr must hold pairs"),
    ("cosine", TypeError, "^lr must be a number, got 'cosine'"),
])
def test_wrong_saved_schedules_are_refused(value, error, match):
    opt = fo.Adam(np.ones(2))
    with refused(error, match, opt):
        opt.load_state_dict(opt.state_dict() | {"t": 5, "lr": value})


# Names


def test_the_names_of_a_sequence_may_have_become_strings():
    opt = fo.Adam([np.ones(2), np.ones(3)])
    opt.step([np.ones(2), np.full(3, 2.0)])
    other = fo.Adam([np.ones(2), np.ones(3)])
    other.load_state_dict(through_json(opt.state_dict()))
    assert (other.state[1]["m"] == opt.state[1]["m"]).all() and other.t == 1


def test_sorted_names_load():
    opt = fo.Adam({"w2": np.ones(2), "w1": np.ones(3), "b": np.ones(1)})
    opt.step([np.ones(2), np.ones(3), np.full(1, 7.0)])
    d = json.loads(json.dumps(opt.state_dict() | {"state": None}, sort_keys=True))
    d["state"] = dict(sorted(opt.state_dict()["state"].items()))
    other = fo.Adam({"b": np.ones(1), "w1": np.ones(3), "w2": np.ones(2)})
    other.load_state_dict(d)
    assert all((other.state[k]["v"] == opt.state[k]["v"]).all() for k in ("w1", "w2", "b"))


def test_a_run_goes_on_bit_for_bit_under_names_in_another_order():
    """Random bits depend on a parameter's place in the list: that of the saved run counts."""
    def make(names, params, **options):
        return fo.Adam([{"params": {name: params[name] for name in names}},
                        {"params": {"z": params["z"]}}], state_dtype="bfloat16", **options)

    rng = np.random.default_rng(0)
    params = {name: np.ones(300, ml_dtypes.bfloat16) for name in "abcz"}
    gradients = [{name: rng.standard_normal(300, np.float32) for name in "abcz"}
                 for _ in range(6)]
    opt = make("bca", params, seed=3)
    for g in gradients[:3]:
        opt.step(g)
    saved, copies = opt.state_dict(), {name: p.copy() for name, p in params.items()}
    assert saved["groups"][0]["params"] == ["b", "c", "a"]
    other = make("abc", copies)
    other.load_state_dict(saved)
    assert other.state_dict()["groups"] == saved["groups"]
    assert other.groups[0]["params"] == ("a", "b", "c")
    for g in gradients[3:]:
        opt.step(g)
        other.step(g)
    assert all(copies[name].tobytes() == params[name].tobytes() for name in "abcz")


def test_a_mappings_own_digits_stay_a_string():
    opt = fo.SGD([{"params": {"0": np.ones(1)}}, {"params": [np.ones(2)]}])
    assert list(opt.params) == ["0", 1]
    opt.load_state_dict(opt.state_dict())
    opt = fo.Momentum({"0": np.ones(1)})
    with refused(ValueError, r"must hold \['0'\], got \[0\]", opt):
        opt.load_state_dict(fo.Momentum([np.ones(1)]).state_dict())
    mixed = fo.Momentum([{"params": [np.ones(1)]}, {"params": {"0": np.ones(1)}}])
    d = mixed.state_dict()
    d["state"][0]["v"][:], d["state"]["0"]["v"][:] = 1, 2
    mixed.load_state_dict(d)
    assert (mixed.state[0]["v"].item(), mixed.state["0"]["v"].item()) == (1, 2)


@pytest.mark.parametrize("names, error, match", [
    (["W", "W"], ValueError, r"params of group 0 must hold \['W', 'b'\], got \['W', 'W'\]"),
    (["W", "b", "b"], ValueError, "params of group 0 must hold"),
    (["W"], ValueError, "params of group 0 must hold"),
    (["W", "c"], ValueError, "params of group 0 must hold"),
    ("Wb", TypeError, "params of group 0 must be a list of names, got 'Wb'"),
    (["W", ["b"]], TypeError, "params of group 0 must be a list of names, got"),
    (None, TypeError, "params of group 0 must be a list of names, got None"),
])
def test_other_names_are_refused(names, error, match):
    opt = fo.Adam({"W": np.ones(2), "b": np.ones(1)})
    d = opt.state_dict() | {"t": 5}
    d["groups"][0]["params"] = names
    with refused(error, match, opt):
        opt.load_state_dict(d)


def test_a_state_of_format_1_loads():
    opt = fo.Adam([np.ones(2), np.ones(3)])
    for _ in range(4):
        opt.step([np.ones(2), np.ones(3)])
    d = opt.state_dict() | {"format": 1}
    del d["counts"]
    other = fo.Adam([np.ones(2), np.ones(3)])
    other.load_state_dict(d)
    assert other.state_dict()["counts"] == {0: 4, 1: 4} and other.t == 4
    d["lr"] = "schedule"
    with refused(ValueError, r"lr must be a schedule, .* \(a schedule, which a state cannot "
                 r"hold\), got 0\.001", other):
        other.load_state_dict(d)
    other.load_state_dict(d, lr=0.5)
    assert other.lr == 0.5
