"""The learning rate: a number or a schedule, read and assigned."""

import numpy as np
import pytest

import fastoptim as fo

from support.refusal import refused


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
