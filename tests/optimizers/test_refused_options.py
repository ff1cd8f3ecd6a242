"""Options that are refused: of the wrong kind, out of range, or not in float32."""

from fractions import Fraction

import numpy as np
import pytest

import fastoptim as fo

from support.cases import FUNCTIONS, OPTIMIZERS
from support.refusal import refused

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
    (fo.Momentum, {"lr": 1e300}, r"^lr" + RANGE + r"1e\+300"),
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
