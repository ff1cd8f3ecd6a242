"""What the commonest mistakes are answered with: the rule, what came, the likely fix.

Each message stands here in full, to be read aloud. The first list is of those who write their first
network in NumPy, the second of those who come from torch or Keras.
"""

import numpy as np
import pytest

import fastoptim as fo


def params(dtype=np.float64):
    return {"W1": np.ones((3, 2), dtype), "b1": np.ones((3, 1), dtype)}


def adam():
    return fo.Adam(params())


def pairs():
    yield from params().items()


ADAM = ("Adam takes the options lr, weight_decay, decoupled, maximize, betas, eps, amsgrad, "
        "state_dtype, seed, rounding, master, uint16_is_bfloat16, got ")
SGD = ("SGD takes the options lr, weight_decay, decoupled, maximize, state_dtype, seed, rounding, "
       "master, uint16_is_bfloat16, got ")
MOMENTUM = ("Momentum takes the options lr, weight_decay, decoupled, maximize, beta, dampening, "
            "dampen_first, nesterov, bias_correction, state_dtype, seed, rounding, master, "
            "uint16_is_bfloat16, got ")
RMSPROP = ("RMSProp takes the options lr, weight_decay, decoupled, maximize, beta, eps, centered, "
           "momentum, bias_correction, eps_inside_sqrt, state_dtype, seed, rounding, master, "
           "uint16_is_bfloat16, got ")
COLLECTION = "must be an array, a sequence or a mapping of arrays, got "
AN_ARRAY = "must be an array (NumPy, buffer protocol or DLPack), got "

FIRST_COURSE = [
    (lambda: adam().step({"dW1": np.ones((3, 2)), "db1": np.ones((3, 1))}), ValueError,
     "grads must have the parameters' names, got missing ['W1', 'b1'], unexpected ['dW1', 'db1']: "
     "gradients are named as their parameters, 'W1' and not 'dW1'"),
    (lambda: fo.Adam(params(), grads={"W1_grad": np.ones((3, 2)), "b1_grad": np.ones((3, 1))}),
     ValueError,
     "grads must have the parameters' names, got missing ['W1', 'b1'], unexpected ['W1_grad', "
     "'b1_grad']: gradients are named as their parameters, 'W1' and not 'W1_grad'"),
    (lambda: adam().step({"W1": np.ones((3, 2)), "B1": np.ones((3, 1))}), ValueError,
     "grads must have the parameters' names, got missing ['b1'], unexpected ['B1']; did you mean "
     "'b1'?"),
    (lambda: fo.SGD([np.ones(2)]).step({"W": np.ones(2)}), ValueError,
     "grads must have the parameters' names, got missing [0], unexpected ['W']: parameters of a "
     "sequence have positions for names, give the gradients as a list"),
    (lambda: adam().step({"W1": np.ones((2, 3)), "b1": np.ones((3, 1))}), ValueError,
     "grad 'W1' must have shape (3, 2), got (2, 3): its transpose .T has that shape"),
    (lambda: adam().step({"W1": np.ones((3, 2)), "b1": np.ones(3)}), ValueError,
     "grad 'b1' must have shape (3, 1), got (3,): it has as many elements, reshape it, or sum with "
     "keepdims=True"),
    (lambda: adam().step([np.ones((3, 2))]), ValueError,
     "grads must hold 2 arrays, one a parameter, got 1"),
    (lambda: fo.SGD(np.ones(3)).step([0.1, 0.2, 0.3]), ValueError,
     "grads must hold 1 array, one a parameter, got 3: np.array(grads) makes one array of numbers"),
    (lambda: adam().step({"W1": [[1.0, 1.0]] * 3, "b1": np.ones((3, 1))}), TypeError,
     f"grad 'W1' {AN_ARRAY}list: np.array(...) makes one of numbers"),
    (lambda: fo.SGD([1.0, 2.0]), TypeError,
     f"params {COLLECTION}numbers: np.array(params) makes one array of them"),
    (lambda: fo.SGD({"W": [1.0, 2.0]}), TypeError,
     f"parameter 'W' {AN_ARRAY}list: np.array(...) makes one of numbers"),
    (lambda: fo.SGD(3.0), TypeError, f"params {COLLECTION}float"),
    (lambda: fo.SGD({"W": np.zeros((3, 2), int)}), TypeError,
     "parameter 'W' must have dtype float32, float64, bfloat16 or float16 in native byte order, "
     "got int64: make it of floats before, .astype(np.float64)"),
    (lambda: fo.SGD(params(np.float32)).step(params()), TypeError,
     "grad 'W1' must have dtype float32, bfloat16 or float16 for parameter 'W1' of float32, got "
     "float64: convert it, .astype(np.float32)"),
    (lambda: fo.SGD(params()).step(params(np.float32)), TypeError,
     "grad 'W1' must have dtype float64 like parameter 'W1', got float32: convert it, "
     ".astype(np.float64)"),
    (lambda: adam().step(), ValueError,
     "grad 'W1' must be given: no gradient is bound, call step(grads)"),
    (lambda: adam().step(0.25), TypeError,
     f"grads {COLLECTION}float: step takes the gradients, not the loss"),
    (lambda: adam().step(np.float64(0.25)), ValueError,
     "grads must hold 2 arrays, one a parameter, got 1: step takes the gradients, not the loss"),
    (lambda: fo.SGD(np.ones(3)).step(np.mean(np.ones(3))), ValueError,
     "grad 0 must have shape (3,), got (): that is a single number, as a loss is"),
    (lambda: fo.Adam(lr=0.01), TypeError, f"params {COLLECTION}NoneType: Adam(params, lr=...)"),
    (lambda: fo.Adam(params(), lr="0.01"), TypeError, "lr must be a number, got '0.01'"),
    (lambda: fo.Adam(params(), learning_rate=0.01), TypeError,
     ADAM + "'learning_rate'; did you mean 'lr'?"),
    (lambda: fo.Adam(params(), beta1=0.9), TypeError, ADAM + "'beta1'; did you mean 'betas'?"),
    (lambda: fo.Adam(params(), betas=0.9), TypeError,
     "betas must be two numbers (beta1, beta2), got 0.9: both are given, betas=(0.9, 0.999)"),
    (lambda: fo.Momentum(params(), momentum=0.9), TypeError,
     MOMENTUM + "'momentum'; did you mean 'beta'?"),
    (lambda: fo.Momentum(params(), beta=1.0), ValueError, "beta must be in [0, 1), got 1.0"),
    (lambda: fo.adam, AttributeError,
     "module 'fastoptim' has no attribute 'adam'; did you mean 'Adam'?"),
    (lambda: fo.MiniBatch, AttributeError,
     "module 'fastoptim' has no attribute 'MiniBatch'; did you mean 'MiniBatches'?"),
    (lambda: fo.schedules.exponential_decay, AttributeError,
     "module 'fastoptim.schedules' has no attribute 'exponential_decay'; did you mean "
     "'exponential'?"),
]

FROM_TORCH_OR_KERAS = [
    (lambda: fo.optim.Adam, AttributeError,
     "module 'fastoptim' has no attribute 'optim': the optimizers are in this module, "
     "fastoptim.Adam"),
    (lambda: fo.RMSprop, AttributeError,
     "module 'fastoptim' has no attribute 'RMSprop'; did you mean 'RMSProp'?"),
    (lambda: fo.Adam(params(), 0.001), TypeError,
     f"grads {COLLECTION}float: a rate is given by name, Adam(params, lr=0.001)"),
    (lambda: fo.Adam(params(), fo.schedules.constant(0.1)), TypeError,
     f"grads {COLLECTION}constant: a rate is given by name, Adam(params, lr=schedule)"),
    (lambda: fo.SGD(params(), lr=0.1, momentum=0.9), TypeError,
     SGD + "'momentum'; Momentum has it, as beta"),
    (lambda: fo.SGD(params(), lr=0.1, nesterov=True), TypeError,
     SGD + "'nesterov'; Momentum has it"),
    (lambda: fo.RMSProp(params(), alpha=0.99), TypeError,
     RMSPROP + "'alpha'; did you mean 'lr' or 'beta'?"),
    (lambda: fo.RMSProp(params(), rho=0.9), TypeError, RMSPROP + "'rho'; did you mean 'beta'?"),
    (lambda: fo.Adam(params(), epsilon=1e-7), TypeError, ADAM + "'epsilon'; did you mean 'eps'?"),
    (lambda: fo.Adam(params(), fused=True), TypeError, ADAM + "'fused'"),
    (lambda: fo.SGD([{"params": np.ones(2), "learning_rate": 0.1}]), TypeError,
     "a group of SGD takes the options lr, weight_decay, decoupled, maximize, got 'learning_rate'; "
     "did you mean 'lr'?"),
    (lambda: fo.SGD(pairs()), TypeError,
     f"params {COLLECTION}pairs of name and array: dict(params) makes a mapping of them"),
    (lambda: fo.SGD({"layer1": params()}), TypeError,
     f"parameter 'layer1' {AN_ARRAY}dict: a mapping must hold the arrays themselves"),
    (lambda: fo.SGD(object() for _ in range(2)), TypeError, f"parameter 0 {AN_ARRAY}object"),
    (lambda: adam().step(lambda: 0.25), TypeError,
     f"grads {COLLECTION}function: call it first, and give step the gradients"),
    (lambda: adam().zero_grad(), AttributeError,
     "Adam has no attribute 'zero_grad': nothing has to be zeroed, since opt.step(grads) takes the "
     "gradients of its step alone"),
    (lambda: adam().param_groups[0], AttributeError,
     "Adam has no attribute 'param_groups': the groups are opt.groups, their options "
     "opt.groups[0]['lr']"),
    (lambda: adam().add_param_group({"params": np.ones(2)}), AttributeError,
     "Adam has no attribute 'add_param_group': all groups are given when it is made, "
     "[{'params': ...}, ...]"),
    (lambda: adam().learning_rate, AttributeError,
     "Adam has no attribute 'learning_rate': the rate is opt.lr"),
    (lambda: adam().apply_gradients(zip(params(), params())), AttributeError,
     "Adam has no attribute 'apply_gradients': the gradients alone go to opt.step(grads), the "
     "parameters are known"),
    (lambda: adam().minimize(lambda: 0.25, params()), AttributeError,
     "Adam has no attribute 'minimize': compute the gradients, and call opt.step(grads)"),
    (lambda: adam().update(params(), None), AttributeError,
     "Adam has no attribute 'update': opt.step(grads) updates the parameters in place"),
    (lambda: adam().iterations, AttributeError,
     "Adam has no attribute 'iterations': the steps taken are opt.t"),
    (lambda: setattr(adam(), "grads", params()), AttributeError,
     "Adam has no attribute 'grads': gradients are bound when it is made, (params, grads=...), or "
     "given to opt.step(grads)"),
    (lambda: fo.adam_(np.ones(2), np.ones(2), np.zeros(2), np.zeros(2), t=1, epsilon=1e-7),
     TypeError, "adam_ takes the options lr, weight_decay, decoupled, maximize, betas, eps, "
     "amsgrad, seed, rounding, got 'epsilon'; did you mean 'eps'?"),
]


@pytest.mark.parametrize("mistake, error, message", [
    pytest.param(*case, id=case[2][-60:]) for case in FIRST_COURSE + FROM_TORCH_OR_KERAS])
def test_a_common_mistake_is_answered_with_its_fix(mistake, error, message):
    with pytest.raises(error) as raised:
        mistake()
    assert str(raised.value) == message


def test_there_are_twenty_mistakes_of_each_kind():
    assert len(FIRST_COURSE) >= 20 and len(FROM_TORCH_OR_KERAS) >= 20


@pytest.mark.parametrize("name", ["__wrapped__", "_private"])
def test_names_that_python_looks_for_by_itself_are_not_guessed_at(name):
    for module in (fo, fo.schedules):
        with pytest.raises(AttributeError, match=rf"has no attribute '{name}'$"):
            getattr(module, name)
