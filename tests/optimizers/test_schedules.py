"""The learning-rate schedules: their formulas, their edges, and what they refuse."""

import copy
import math
import pickle

import numpy as np
import pytest

import fastoptim as fo
from fastoptim import schedules

STEPS = (0, 1, 2, 9, 10, 11, 99, 100, 101, 12345)

# (schedule, the formula over the step)
FORMULAS = [
    (schedules.constant(0.1), lambda k: 0.1),
    (schedules.inverse_time(0.2, decay_rate=1.0), lambda k: 0.2 / (1 + k)),
    (schedules.inverse_time(0.2, 10, decay_rate=0.5), lambda k: 0.2 / (1 + 0.5 * (k // 10))),
    (schedules.inverse_time(0.2, decay_rate=0), lambda k: 0.2),
    (schedules.exponential(0.2), lambda k: 0.2 * 0.95**k),
    (schedules.exponential(0.2, base=0.5, steps_per_epoch=100),
     lambda k: 0.2 * 0.5 ** (k // 100)),
    (schedules.inverse_sqrt(0.2), lambda k: 0.2 / math.sqrt(k + 1)),
    (schedules.inverse_sqrt(0.2, k=3.0, steps_per_epoch=10),
     lambda k: 3.0 * 0.2 / math.sqrt(k // 10 + 1)),
    (schedules.staircase(0.2, every=10), lambda k: 0.2 * 0.5 ** (k // 10)),
    (schedules.staircase(0.2, every=5, factor=0.1, steps_per_epoch=2),
     lambda k: 0.2 * 0.1 ** (k // 2 // 5)),
    (schedules.piecewise({0: 0.3}), lambda k: 0.3),
    (schedules.piecewise({10: 0.2, 0: 0.3, 100: 0.1}),
     lambda k: 0.3 if k < 10 else 0.2 if k < 100 else 0.1),
    (schedules.piecewise({0: 1.0, 1: 2.0}, steps_per_epoch=100),
     lambda k: 1.0 if k < 100 else 2.0),
]
each_schedule = pytest.mark.parametrize("schedule, formula", FORMULAS,
                                        ids=[repr(schedule) for schedule, _ in FORMULAS])


@each_schedule
def test_the_rate_is_that_of_the_formula(schedule, formula):
    assert [schedule(step) for step in STEPS] == [formula(step) for step in STEPS]


@each_schedule
def test_every_rate_can_be_used(schedule, formula):
    for step in (*STEPS, 10**7, 2**53):
        assert 0 <= schedule(step) < math.inf


@each_schedule
def test_schedules_are_values(schedule, formula):
    for again in (pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule),
                  eval(repr(schedule), vars(schedules))):
        assert again == schedule and repr(again) == repr(schedule)
        assert [again(step) for step in STEPS] == [schedule(step) for step in STEPS]
    kind = type(schedule).__name__
    for name in (*vars(schedule), "rate"):
        with pytest.raises(AttributeError, match=rf"^{name} must stay as it is, since a schedule "
                           rf"is a value: make another {kind}, and assign it, opt.lr = {kind}\("):
            setattr(schedule, name, 1.0)
        with pytest.raises(AttributeError, match=f"^{name} must stay as it is"):
            delattr(schedule, name)


@each_schedule
@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int16, np.uint8])
def test_arrays_of_steps_have_the_rates_of_their_steps(schedule, formula, dtype):
    steps = np.array([[0, 1, 2, 9, 10], [100, 101, 11, 99, 1]], dtype)
    for rate in (schedule, schedule.at_epoch):
        rates = rate(steps)
        assert rates.dtype == np.float64 and rates.shape == steps.shape
        assert rates.tolist() == [[rate(step) for step in row] for row in steps.tolist()]
    assert schedule(np.arange(5000)).tolist() == [schedule(step) for step in range(5000)]
    assert schedule(steps[:0]).shape == (0, 5) and schedule(steps[:0]).dtype == np.float64
    assert schedule(steps[::-1, ::2]).tolist() == schedule(steps)[::-1, ::2].tolist()


@each_schedule
def test_a_schedule_by_epochs_is_that_by_steps(schedule, formula):
    per_epoch = getattr(schedule, "steps_per_epoch", 1)
    for epoch in (0, 1, 9, 10, 100):
        assert schedule.at_epoch(epoch) == schedule(epoch * per_epoch) == formula(epoch * per_epoch)


@each_schedule
def test_whole_numbers_of_numpy_are_steps(schedule, formula):
    for step in (np.int64(10), np.uint8(10), np.array(10)):
        assert schedule(step) == schedule(10) and isinstance(schedule(step), float)


@each_schedule
@pytest.mark.parametrize("step, error, match", [
    (-1, ValueError, r"must be in \[0, 9007199254740992\], got -1"),
    (-2, ValueError, r"must be in \[0, 9007199254740992\], got -2"),
    (10**400, ValueError, r"must be in \[0, 9007199254740992\], got 1000"),
    (2.5, TypeError, "must be an integer, got 2.5"),
    (2.0, TypeError, "must be an integer, got 2.0"),
    (True, TypeError, "must be an integer, got True"),
    (None, TypeError, "must be an integer, got None"),
    ("1", TypeError, "must be an integer, got '1'"),
    (np.array([0, -1]), ValueError, r"must be in \[0, 9007199254740992\], got -1"),
    (np.array([2**60]), ValueError, r"must be in \[0, 9007199254740992\], got 1152"),
    (np.array([2.0]), TypeError, "must be an integer, or an array of integers, got .* float64"),
    (np.array([True]), TypeError, "must be an integer, or an array of integers, got .* bool"),
])
def test_refused_steps(schedule, formula, step, error, match):
    with pytest.raises(error, match=f"^step {match}"):
        schedule(step)
    with pytest.raises(error, match=f"^epoch {match}"):
        schedule.at_epoch(step)


@pytest.mark.parametrize("schedule", [schedules.exponential(0.1, base=2.0),
                                      schedules.staircase(0.1, every=1, factor=2.0)])
def test_a_rate_that_has_grown_beyond_float64_is_refused_by_name(schedule):
    assert schedule(5000) == math.inf and schedule(np.array([1, 5000])).tolist() == [0.2, math.inf]
    p = np.zeros(1)
    opt = fo.SGD(p, lr=lambda step: schedule(step + 5000))
    with pytest.raises(ValueError, match="^the learning rate of step 0 must be finite and >= 0, "
                       "got inf$"):
        opt.step(np.ones(1))
    assert opt.t == 0 and p == 0.0


def test_a_rate_of_zero_stays_zero_however_it_grows():
    assert schedules.exponential(0.0, base=2.0)(5000) == 0.0


REALS = [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), np.array(0.5, np.float32),
         np.where(True, 0.5, 0.25)]


@pytest.mark.parametrize("rate", REALS, ids=repr)
def test_any_real_scalar_is_a_rate(rate):
    p = np.zeros(1)
    opt = fo.SGD(p, lr=rate)
    opt.step(np.ones(1))
    opt.lr = rate
    opt.step(np.ones(1))
    opt.lr = lambda step: rate
    opt.step(np.ones(1))
    opt.groups[0]["lr"] = rate
    opt.step(np.ones(1))
    opt.lr = schedules.constant(rate)
    assert p == -2.0 and type(opt.lr) is float and "lr=0.5" in repr(schedules.constant(rate))


@pytest.mark.parametrize("rate", [np.array(True), np.array("0.5"), np.array(0.5j), np.ones(1)])
def test_arrays_that_are_no_real_scalar_are_no_rate(rate):
    opt = fo.SGD(np.zeros(1), lr=lambda step: rate)
    with pytest.raises(TypeError, match="^the learning rate of step 0 must be a number, got array"):
        opt.step(np.ones(1))


def test_a_jax_like_scalar_is_a_rate():
    class Scalar:  # what jax.numpy and optax return: no NumPy array, and no registered number
        ndim = 0

        def item(self):
            return 0.25

    p = np.zeros(1)
    fo.SGD(p, lr=lambda step: Scalar()).step(np.ones(1))
    assert p == -0.25


def test_a_table_is_read_only():
    by_hand = schedules.piecewise({0: 0.2, 30: 0.1})
    assert by_hand.table == {0: 0.2, 30: 0.1} and list(by_hand.table) == [0, 30]
    with pytest.raises(TypeError, match="^the table of a schedule must stay as it is, .* make "
                       "another piecewise"):
        by_hand.table[30] = 0.05
    assert by_hand(30) == 0.1


def test_a_table_is_not_the_callers_any_more():
    table = {0: 1.0, 5: 0.1}
    schedule = schedules.piecewise(table)
    table[0] = 7.0
    assert schedule(0) == 1.0


def test_all_are_tested():
    assert {type(schedule).__name__ for schedule, _ in FORMULAS} == set(schedules.__all__)


NOT_SIGNED = [(-1.0, ValueError, "must be finite and >= 0, got -1.0"),
              (math.nan, ValueError, "must be finite and >= 0, got nan"),
              (math.inf, ValueError, "must be finite and >= 0, got inf"),
              ("1", TypeError, "must be a number, got '1'"),
              (None, TypeError, "must be a number, got None"),
              (True, TypeError, "must be a number, got True")]
NOT_COUNT = [(0, ValueError, "must be >= 1, got 0"), (-1, ValueError, "must be >= 1, got -1"),
             (1.0, TypeError, "must be an integer, got 1.0"),
             (None, TypeError, "must be an integer, got None"),
             (True, TypeError, "must be an integer, got True")]
OPTIONS = {
    "constant": {"lr": NOT_SIGNED},
    "inverse_time": {"lr": NOT_SIGNED, "decay_rate": NOT_SIGNED, "steps_per_epoch": NOT_COUNT},
    "exponential": {"lr": NOT_SIGNED, "base": NOT_SIGNED, "steps_per_epoch": NOT_COUNT},
    "inverse_sqrt": {"lr": NOT_SIGNED, "k": NOT_SIGNED, "steps_per_epoch": NOT_COUNT},
    "staircase": {"lr": NOT_SIGNED, "every": NOT_COUNT, "factor": NOT_SIGNED,
                  "steps_per_epoch": NOT_COUNT},
    "piecewise": {"steps_per_epoch": NOT_COUNT},
}
NEEDED = {"inverse_time": {"decay_rate": 1.0}, "staircase": {"every": 10},
          "piecewise": {"table": {0: 1.0}}}


@pytest.mark.parametrize("name, option, value, error, match", [
    (name, option, *bad) for name, options in OPTIONS.items()
    for option, all_bad in options.items() for bad in all_bad])
def test_refused_options(name, option, value, error, match):
    good = {"lr": 0.1} if name != "piecewise" else {}
    with pytest.raises(error, match=f"{option} {match}"):
        getattr(schedules, name)(**good | NEEDED.get(name, {}) | {option: value})


@pytest.mark.parametrize("table, error, match", [
    ([(0, 1.0)], TypeError, "table must map epochs to learning rates, got"),
    ({}, ValueError, r"table must begin at epoch 0, got \{\}"),
    ({1: 0.1}, ValueError, r"table must begin at epoch 0, got \{1: 0.1\}"),
    ({0: 0.1, -1: 0.2}, ValueError, "an epoch of the table must be >= 0, got -1"),
    ({0: 0.1, 1.5: 0.2}, TypeError, "an epoch of the table must be an integer, got 1.5"),
    ({0: 0.1, True: 0.2}, TypeError, "an epoch of the table must be an integer, got True"),
    ({0: 0.1, 3: -0.2}, ValueError, "the learning rate from epoch 3 must be finite and >= 0"),
    ({0: "0.1"}, TypeError, "the learning rate from epoch 0 must be a number, got '0.1'"),
])
def test_refused_tables(table, error, match):
    with pytest.raises(error, match=match):
        schedules.piecewise(table)
