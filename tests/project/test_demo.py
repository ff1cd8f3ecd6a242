"""The demo: its network's gradients, what it learns, what it draws, what it asks for."""

import contextlib
import io
import json
import re
import sys

import numpy as np
import pytest

from fastoptim import demo
from fastoptim.demo import network

from support import ROOT


def skip_without(*modules):
    for module in modules:
        pytest.importorskip(module)


def small_problem():
    """Parameters, samples and one-hot labels in float64, all random."""
    rng = np.random.default_rng(7)
    params = network.init(5, 6, 3, seed=1, dtype=np.float64)
    for bias in (params["b1"], params["b2"]):
        bias += 0.1 * rng.standard_normal(bias.shape)
    x = rng.standard_normal((4, 5))
    y = np.eye(3)[rng.integers(3, size=4)]
    return params, x, y


@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_gradients_equal_finite_differences(l2):
    params, x, y = small_problem()
    grads = {name: np.full_like(param, np.nan) for name, param in params.items()}
    cost = network.gradients(params, x, y, grads, l2=l2)
    assert cost == network.cost(params, x, y, l2=l2)

    h = 1e-5
    for name, param in params.items():
        for i in np.ndindex(param.shape):
            there = param[i]
            param[i] = there + h
            above = network.cost(params, x, y, l2=l2)
            param[i] = there - h
            below = network.cost(params, x, y, l2=l2)
            param[i] = there
            slope = (above - below) / (2 * h)
            assert grads[name][i] == pytest.approx(slope, abs=1e-8), (name, i)


def test_cost_by_hand():
    """With zero weights every class is equally likely: the cost is log(classes)."""
    params, x, y = small_problem()
    zero = {name: np.zeros_like(param) for name, param in params.items()}
    assert network.cost(zero, x, y, l2=1.0) == pytest.approx(np.log(3))
    ones = {name: np.ones_like(param) for name, param in params.items()}
    penalty = network.cost(ones, x, y, l2=2.0) - network.cost(ones, x, y)
    assert penalty == pytest.approx(5 * 6 + 6 * 3)


def test_extreme_scores_stay_finite():
    params, x, y = small_problem()
    huge = {name: 1e4 * param for name, param in params.items()}
    grads = {name: np.empty_like(param) for name, param in params.items()}
    assert np.isfinite(network.gradients(huge, x, y, grads))
    assert all(np.isfinite(grad).all() for grad in grads.values())


def test_init_is_seeded_and_float32():
    first, again, other = (network.init(64, 32, 10, seed=seed) for seed in (3, 3, 4))
    assert all(param.dtype == np.float32 for param in first.values())
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["W1"], other["W1"])
    assert first["W1"].std() == pytest.approx(np.sqrt(2 / 64), rel=0.1)


@pytest.fixture(scope="module")
def train():
    skip_without("sklearn", "tqdm")
    from fastoptim.demo import train

    return train


@pytest.fixture(scope="module")
def digits(train):
    return train.load_digits()


def method(train, name):
    return next(method for method in train.METHODS if method.name.startswith(name))


def test_the_split_is_fixed_and_stratified(train, digits):
    assert (len(digits.x_train), len(digits.x_test)) == (1344, 453)
    assert digits.x_train.min() == 0 and digits.x_train.max() == 1
    assert digits.x_train.dtype == digits.y_train.dtype == np.float32
    shares = [y.mean(axis=0) for y in (digits.y_train, digits.y_test)]
    np.testing.assert_allclose(*shares, atol=0.002)
    np.testing.assert_array_equal(digits.x_train, train.load_digits().x_train)


@pytest.mark.parametrize("seed", [0, 1])
def test_adam_learns_the_digits(train, digits, seed):
    result = train.train(method(train, "Adam"), digits, epochs=40, seed=seed)
    assert result.accuracy >= 0.97
    assert result.epoch_costs[-1] < 0.03
    assert (result.steps, result.epochs) == (40 * 42, 40)


@pytest.mark.parametrize("name", ["Batch", "Stochastic", "Mini-batch", "Momentum", "RMSProp"])
def test_every_method_descends(train, digits, name):
    result = train.train(method(train, name), digits, epochs=2)
    costs = result.epoch_costs
    assert costs[0] > costs[1] > costs[2]
    assert len(result.batch_costs) == result.steps == 2 * len(digits.x_train) // result.batch_size


def test_all_start_from_the_same_weights(train, digits):
    first, *others = (train.train(m, digits, epochs=0, seed=5) for m in train.METHODS)
    assert all(other.epoch_costs == first.epoch_costs for other in others)


@pytest.fixture(scope="module")
def quick_demo(tmp_path_factory):
    """The folder that ``fastoptim demo --quick`` wrote, and what it printed."""
    skip_without("matplotlib", "sklearn", "tqdm", "vega_datasets")
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        demo.run(out, quick=True)
    return out, printed.getvalue()


def test_the_table_has_every_row_and_fits_a_terminal(quick_demo, train):
    _, printed = quick_demo
    for name in (m.name for m in train.METHODS):
        assert re.search(rf"^{name} .*\d\.\d\d s .* \d\d\.\d%$", printed, re.MULTILINE)
    shown = [line for line in printed.splitlines() if not line.startswith("wrote ")]
    assert max(map(len, shown)) <= 80


def test_every_picture_is_written(quick_demo):
    out, printed = quick_demo
    from matplotlib.image import imread

    names = ("batch_sizes", "bowl", "moving_averages", "bias_correction", "schedules", "settling")
    assert {path.name for path in out.iterdir()} == {f"{name}.png" for name in names}
    for name in names:
        path = out / f"{name}.png"
        assert f"wrote {path}" in printed
        assert path.stat().st_size < 200 * 1024
        height, width, _ = (image := imread(path)).shape
        assert 1200 <= width <= 1600 and height >= 500
        # Ink, some of it coloured, and none at the edges: nothing is cut off.
        darkest, brightest = image[..., :3].min(axis=2), image[..., :3].max(axis=2)
        assert 0.01 < (darkest < 0.9).mean() < 0.5
        assert (brightest - darkest > 0.3).mean() > 0.002
        assert image[0].min() == image[-1].min() == image[:, 0].min() == image[:, -1].min() == 1


@pytest.mark.parametrize("name", ["batch_sizes", "bowl", "moving_averages", "bias_correction",
                                  "schedules", "settling"])
def test_the_pictures_of_the_docs_are_those_that_the_code_draws(name, quick_demo):
    """By the texts and points that a PNG holds; else draw them anew with `make demo`."""
    from PIL import Image

    from fastoptim import plotting

    committed = ROOT / "docs" / "images" / f"{name}.png"
    shown, drawn = (json.loads(Image.open(path).text[plotting.FACTS])
                    for path in (committed, quick_demo[0] / f"{name}.png"))
    assert shown["texts"] == drawn["texts"]
    for here, there in zip(shown["lines"], drawn["lines"], strict=True):
        if name == "batch_sizes":
            # A quick training is the beginning of a longer one. Matrix products differ from
            # machine to machine in their last digits, and what is trained by them in more.
            np.testing.assert_allclose(here[:len(there)], there, rtol=0.05, atol=1e-3)
        else:
            np.testing.assert_allclose(here, there, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("rule", range(4))
def test_every_rule_reaches_the_bottom_of_the_bowl(rule):
    skip_without("matplotlib", "sklearn", "tqdm", "vega_datasets")
    from fastoptim.demo.pictures import descent

    name, _, make, options = descent.RULES[rule]
    path = descent.descend(make, options)
    assert np.array_equal(path[0], descent.START)
    assert descent.CURVATURE @ path[-1] ** 2 / 2 < descent.LOW
    assert len(path) - 1 <= (60 if name == "Gradient descent" else 30)


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ImportError, match=r"missing: .*tqdm.*pip install 'fastoptim\[demo\]'"):
        demo.run(tmp_path / "out")
    assert not (tmp_path / "out").exists()
