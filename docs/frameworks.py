"""Prints the differences between 100 float64 steps of ours and of optax and Keras.

    pip install optax keras && python docs/frameworks.py

They are relative to the largest parameter; the rate is constant, or falls as 0.01/(1 + step). For
torch.optim, `make test-torch` checks the same.
"""

import os
import warnings

os.environ |= {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1"}
warnings.simplefilter("ignore")

import jax  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

import fastoptim as fo  # noqa: E402

rng = np.random.default_rng(0)
START = rng.standard_normal(500)
GRADIENTS = [rng.standard_normal(500) * 10.0 ** rng.uniform(-3, 3, 500) for _ in range(100)]


def falling(step):
    return 0.01 / (1 + step)


def of_optax(transformation):
    @jax.jit
    def step(p, state, g):
        updates, state = transformation.update(g, state, p)
        return optax.apply_updates(p, updates), state

    p = jax.numpy.asarray(START)
    state = transformation.init(p)
    for g in GRADIENTS:
        p, state = step(p, state, g)
    return np.asarray(p)


def of_keras(optimizer, lr=0.01):
    p = keras.Variable(START, dtype="float64")
    optimizer.build([p])
    for step, g in enumerate(GRADIENTS):
        optimizer.learning_rate = lr(step) if callable(lr) else lr
        optimizer.apply([jax.numpy.asarray(g)])
    return np.asarray(p.value)


def compare(name, theirs, ours, lr=0.01, **options):
    p = START.copy()
    optimizer = ours(p, lr=lr, **options)
    for g in GRADIENTS:
        optimizer.step(g)
    difference = np.abs(p - theirs).max() / np.abs(theirs).max()
    print(f"{name:66} {difference:.0e}")


def compare_optax():
    heavy_ball = {"beta": 0.9, "dampening": 0.0}
    compare("optax.sgd", of_optax(optax.sgd(0.01)), fo.SGD)
    for lr, what in ((0.01, ""), (falling, ", falling rate")):
        for nesterov in (False, True):
            compare(f"optax.sgd(momentum, nesterov={nesterov}){what}",
                    of_optax(optax.sgd(lr, 0.9, nesterov)), fo.Momentum, lr, nesterov=nesterov,
                    **heavy_ball)
        compare(f"optax.rmsprop(momentum){what}", of_optax(optax.rmsprop(lr, momentum=0.9)),
                fo.RMSProp, lr, momentum=0.9, eps_inside_sqrt=True)
        compare(f"optax.adam{what}", of_optax(optax.adam(lr)), fo.Adam, lr)
    for debias in (False, True):
        compare(f"optax.ema(debias={debias})",
                of_optax(optax.chain(optax.ema(0.9, debias), optax.scale(-0.01))), fo.Momentum,
                bias_correction=debias)
    for centered in (False, True):
        for correction in (False, True):
            for inside in (False, True):
                compare(f"optax.rmsprop(centered={centered}, bias_correction={correction}, "
                        f"eps_in_sqrt={inside})",
                        of_optax(optax.rmsprop(0.01, centered=centered, eps_in_sqrt=inside,
                                               bias_correction=correction)),
                        fo.RMSProp, centered=centered, bias_correction=correction,
                        eps_inside_sqrt=inside)
    compare("optax.adamw", of_optax(optax.adamw(0.01, weight_decay=0.1)), fo.AdamW,
            weight_decay=0.1)
    compare("optax.add_decayed_weights, then adam",
            of_optax(optax.chain(optax.add_decayed_weights(0.1), optax.adam(0.01))), fo.Adam,
            weight_decay=0.1)
    compare("optax.amsgrad", of_optax(optax.amsgrad(0.01)), fo.Adam, amsgrad=True)


def compare_keras():
    optimizers = keras.optimizers
    compare("keras SGD", of_keras(optimizers.SGD()), fo.SGD)
    for lr, what in ((0.01, ""), (falling, ", falling rate")):
        for nesterov in (False, True):
            compare(f"keras SGD(momentum, nesterov={nesterov}){what}",
                    of_keras(optimizers.SGD(momentum=0.9, nesterov=nesterov), lr), fo.Momentum, lr,
                    beta=0.9, dampening=0.0, nesterov=nesterov)
        compare(f"keras RMSprop(momentum){what}", of_keras(optimizers.RMSprop(momentum=0.9), lr),
                fo.RMSProp, lr, momentum=0.9, eps=1e-7, eps_inside_sqrt=True)
    for centered in (False, True):
        compare(f"keras RMSprop(centered={centered})",
                of_keras(optimizers.RMSprop(centered=centered)), fo.RMSProp, centered=centered,
                eps=1e-7, eps_inside_sqrt=True)
    for eps in (0.0, 1e-7, 1e-2):
        for amsgrad in (False, True):
            compare(f"keras Adam(epsilon={eps}, amsgrad={amsgrad})",
                    of_keras(optimizers.Adam(epsilon=eps, amsgrad=amsgrad)), fo.Adam, eps=eps,
                    amsgrad=amsgrad)
    compare("keras AdamW(epsilon=0)",
            of_keras(optimizers.AdamW(epsilon=0.0, weight_decay=0.1)), fo.AdamW, eps=0.0,
            weight_decay=0.1)
    compare("keras SGD(weight_decay)", of_keras(optimizers.SGD(weight_decay=0.1)), fo.SGD,
            weight_decay=0.1, decoupled=True)


if __name__ == "__main__":
    print(f"optax {optax.__version__}, keras {keras.__version__}, jax {jax.__version__}")
    compare_optax()
    keras.config.set_floatx("float64")
    compare_keras()
