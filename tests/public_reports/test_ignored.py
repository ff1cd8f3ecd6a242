"""Accepted, and nothing happens: faults that users of other libraries reported in public.

A test is named by what the user saw. Its first line says where that was reported, and what was
seen there; the rest is the same situation here.
"""

import operator
import pickle

import numpy as np
import pytest

import fastoptim as fo

REFUSED = (AttributeError, RuntimeError, TypeError, ValueError)


def test_a_learning_rate_by_another_name_is_not_ignored():
    # https://github.com/keras-team/keras/issues/17338: lr= was accepted, and ignored.
    p = np.zeros(3)
    with pytest.raises(REFUSED, match="learning_rate"):
        fo.Adam(p, learning_rate=5.0)
    opt = fo.Adam(p, lr=0.1)
    with pytest.raises(AttributeError, match="learning_rate"):
        opt.learning_rate = 5.0
    assert opt.lr == 0.1 and not hasattr(opt, "learning_rate")


def test_an_option_can_be_changed_between_steps():
    # https://github.com/pytorch/pytorch/issues/7342: no easy way to change decay or momentum.
    first, second, g = np.ones(3), np.ones(3), np.full(3, 0.5)
    opt = fo.Adam(first)
    opt.weight_decay, opt.betas, opt.eps = 0.5, (0.8, 0.9), 1e-3
    assert (opt.weight_decay, opt.betas, opt.eps) == (0.5, (0.8, 0.9), 1e-3)
    opt.step(g)
    fo.Adam(second, weight_decay=0.5, betas=(0.8, 0.9), eps=1e-3).step(g)
    assert first.tobytes() == second.tobytes()


def test_a_state_or_parameter_put_in_place_of_another_is_not_ignored():
    # https://github.com/graphdeco-inria/gaussian-splatting/issues/897: swapped inside an optimizer.
    opt = fo.Adam([np.ones(3), np.ones(2)])
    opt.step([np.ones(3), np.ones(2)])
    with pytest.raises(TypeError):
        opt.state[0]["m"] = np.zeros(3)
    with pytest.raises(TypeError):
        opt.state[0] = {}
    with pytest.raises(TypeError):
        opt.params[0] = np.zeros(3)
    opt.state[0]["m"][:] = 7
    assert (opt.state_dict()["state"][0]["m"] == 7).all()


def test_a_parameter_made_anew_after_the_optimizer_is_noticed():
    # https://github.com/spro/practical-pytorch/issues/9: the optimizer held the model before.
    params = {"W": np.ones((2, 2)), "b": np.zeros(2)}
    opt, grads = fo.Adam(params), {"W": np.ones((2, 2)), "b": np.ones(2)}
    opt.step(grads)
    held = params["W"]
    params["W"] = params["W"] / 5
    before = held.tobytes(), params["W"].tobytes(), params["b"].tobytes()
    with pytest.raises(REFUSED, match="'W'"):
        opt.step(grads)
    assert before == (held.tobytes(), params["W"].tobytes(), params["b"].tobytes()) and opt.t == 1
    held[...], params["W"] = params["W"], held
    opt.step(grads)
    assert opt.t == 2


def test_a_resumed_run_keeps_its_schedule():
    # https://github.com/chainer/chainermn/issues/225: a resumed run had its first rate again.
    schedule = fo.schedules.exponential(0.1, base=0.5)
    first = fo.SGD(np.zeros(1), lr=schedule)
    for _ in range(3):
        first.step(np.ones(1))
    second = fo.SGD(np.zeros(1))
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    for _ in range(3):
        assert second.lr == first.lr == schedule(first.t)
        first.step(np.ones(1))
        second.step(np.ones(1))


def test_a_schedule_of_ones_own_is_asked_for_when_a_run_is_resumed():
    # https://github.com/google-deepmind/optax/issues/1036: how to resume where a schedule was?
    def own(step):
        return 0.5 / (1 + step)

    first = fo.SGD(np.zeros(1), lr=own)
    first.step(np.ones(1))
    state = first.state_dict()
    second = fo.SGD(np.zeros(1))
    with pytest.raises(REFUSED, match="own"):
        second.load_state_dict(state)
    assert second.t == 0
    third = fo.SGD(np.zeros(1), lr=own)
    third.load_state_dict(state)
    assert third.lr == first.lr == own(1)


def test_states_go_to_the_parameter_of_their_name():
    # https://github.com/pytorch/pytorch/issues/1489: in another order, p1 had the state of p2.
    first = fo.Momentum({"p2": np.zeros(3), "p1": np.zeros(3)})
    first.step({"p1": np.ones(3), "p2": np.full(3, 2.0)})
    second = fo.Momentum({"p1": np.zeros(3), "p2": np.zeros(3)})
    second.load_state_dict(first.state_dict())
    for name in ("p1", "p2"):
        assert np.array_equal(second.state[name]["v"], first.state[name]["v"])


def test_positions_that_a_file_made_strings_are_positions_still():
    # https://github.com/pytorch/pytorch/issues/153842: int keys came back from a file as strings.
    def keys_as_text(x):
        if isinstance(x, dict):
            return {str(key): keys_as_text(value) for key, value in x.items()}
        return x

    first, second = (fo.Momentum([np.zeros(2), np.zeros(3)]) for _ in range(2))
    first.step([np.ones(2), np.ones(3)])
    second.load_state_dict(keys_as_text(first.state_dict()))
    assert np.array_equal(second.state[1]["v"], first.state[1]["v"]) and second.t == 1


def test_a_parameter_added_late_begins_with_a_first_step():
    # https://github.com/deepspeedai/DeepSpeed/pull/8471: one count for all, wrong bias correction.
    g, old = np.array([0.5, -2.0]), fo.Adam({"a": np.zeros(2)})
    for _ in range(50):
        old.step({"a": g})
    new, fresh = fo.Adam({"b": np.ones(2), "a": np.zeros(2)}), fo.Adam({"b": np.ones(2)})
    new.params["a"][:] = old.params["a"]
    merged = new.state_dict()
    for key in ("state", "counts"):
        merged[key] = {**merged[key], **old.state_dict()[key]}
    new.load_state_dict({**merged, "t": old.t})
    for _ in range(3):
        new.step({"a": g, "b": g})
        old.step({"a": g})
        fresh.step({"b": g})
    assert new.params["a"].tobytes() == old.params["a"].tobytes()
    assert new.params["b"].tobytes() == fresh.params["b"].tobytes()


def test_a_schedule_whose_power_overflows_says_so():
    # https://github.com/pytorch/pytorch/issues/52989: OverflowError, two hours into the epoch.
    p = np.zeros(1)
    opt = fo.SGD(p, lr=fo.schedules.exponential(0.1, base=2.0))
    opt.load_state_dict({**opt.state_dict(), "t": 5000})
    with pytest.raises(ValueError, match="5000"):
        opt.step(np.ones(1))
    assert p[0] == 0 and opt.t == 5000


SCHEDULES = {
    "constant": lambda: fo.schedules.constant(0.1),
    "inverse_time": lambda: fo.schedules.inverse_time(0.1, decay_rate=0.5, steps_per_epoch=3),
    "exponential": lambda: fo.schedules.exponential(0.1, steps_per_epoch=3),
    "inverse_sqrt": lambda: fo.schedules.inverse_sqrt(0.1, steps_per_epoch=3),
    "staircase": lambda: fo.schedules.staircase(0.1, every=2, steps_per_epoch=3),
    "piecewise": lambda: fo.schedules.piecewise({0: 0.1, 2: 0.01}, steps_per_epoch=3),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_takes_an_array_of_steps(name):
    # https://github.com/deepmodeling/deepmd-kit/pull/5143: schedules took no array of steps.
    schedule, steps = SCHEDULES[name](), np.arange(12).reshape(3, 4)
    rates = np.asarray(schedule(steps))
    assert rates.shape == steps.shape
    assert rates.ravel().tolist() == [float(schedule(step)) for step in range(12)]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("step", [-2, 2.5, True, "3"])
def test_a_schedule_refuses_what_is_no_step(name, step):
    # https://github.com/keras-team/keras/pull/18722: decay_steps below 0 gave rates of 0, or NaN.
    with pytest.raises((TypeError, ValueError), match="step"):
        SCHEDULES[name]()(step)


@pytest.mark.parametrize("scalar", [np.float32, np.float64, np.asarray, lambda x: np.where(x, x, x),
                                    int, lambda x: np.int64(x)])
def test_a_schedule_may_return_any_real_scalar(scalar):
    # https://github.com/keras-team/keras/pull/4304: rates of NumPy's types were refused.
    p = np.zeros(1)
    opt = fo.SGD(p, lr=lambda step: scalar(2.0))
    opt.step(np.ones(1))
    assert p[0] == -2 and opt.lr == 2


def test_two_optimizers_made_from_the_same_groups_keep_their_own_rates():
    # https://github.com/pytorch/pytorch/issues/51794: the first optimizer wrote into the groups.
    groups = [{"params": [np.zeros(2)]}, {"params": [np.zeros(3)], "lr": 0.25}]
    given = [dict(group) for group in groups]
    fo.SGD(groups, lr=0.01)
    opt = fo.SGD(groups, lr=0.5)
    assert [group["lr"] for group in opt.groups] == [0.5, 0.25]
    assert all(map(operator.eq, map(len, groups), map(len, given)))
