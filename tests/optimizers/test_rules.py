"""The optimizers beside one another and the functional layer: steps, signatures, repr."""

import inspect

import numpy as np
import pytest

import fastoptim as fo

from support.bits import all_arrays, same_bytes
from support.cases import CASES, DTYPES, FUNCTIONS, OPTIMIZERS, gradients, initial, name_of

each_case = pytest.mark.parametrize("case", CASES, ids=name_of)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


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
    with pytest.raises(TypeError, match="use .* or ") as caught:
        fo.Optimizer(np.ones(1))
    named = str(caught.value).partition("use ")[2].replace(" or ", ", ").split(", ")
    assert sorted(named) == sorted(make.__name__ for make, _ in OPTIMIZERS.values())


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
