"""The learning-rate schedules: their formulas, their edges, and what they refuse."""

import copy
import math
import pickle

import pytest

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
    with pytest.raises(AttributeError):
        schedule.lr = 1.0


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
