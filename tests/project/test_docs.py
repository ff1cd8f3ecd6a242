"""What the docs show runs, and what they point to is there."""

import doctest
import importlib
import inspect
import math
import pkgutil
import re
import tomllib

import numpy as np
import pytest

import fastoptim as fo

from support import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
MODULES = [module.name for module in pkgutil.iter_modules(fo.__path__)
           if module.name not in ("__main__", "demo", "bench")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert doctest.testmod(importlib.import_module(f"fastoptim.{name}")).failed == 0


def test_every_public_name_has_a_docstring_and_most_an_example():
    for name in fo.__all__:
        thing = getattr(fo, name)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert thing.__doc__, name
    for thing in (fo.SGD, fo.Momentum, fo.RMSProp, fo.Adam, fo.AdamW, fo.ewma, fo.MiniBatches,
                  fo.sgd_, fo.momentum_, fo.rmsprop_, fo.adam_):
        assert ">>>" in thing.__doc__, thing


def lines_in_help(thing):
    """The block that its docstring introduces with the words "In NumPy, to the byte"."""
    pattern = r"In NumPy, to the byte[^:]*::?\n\n((?: {4}.*\n)+)"
    block = re.search(pattern, inspect.getdoc(thing))
    return "\n".join(line.strip() for line in block[1].splitlines())


def readme_blocks():
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def typed_in(lines, dtype, **options):
    """p after three steps of these lines on 1000 elements, and the p and gradients they took."""
    rng = np.random.default_rng(0)
    start = rng.standard_normal(1000).astype(dtype)
    gradients = [(rng.standard_normal(1000) * 10.0 ** rng.uniform(-6, 3, 1000)).astype(dtype)
                 for _ in range(3)]
    names = {"np": np, "math": math, "p": start.copy(), **options}
    names |= {state: np.zeros(1000, dtype) for state in "msv"}
    for t, g in enumerate(gradients, 1):
        exec(lines, names := names | {"t": t, "g": g})
    return names["p"], start, gradients


ADAM = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
LINES = {
    fo.SGD: {"lr": 1e-2},
    fo.Momentum: {"lr": 1e-2, "beta": 0.9},
    fo.RMSProp: {"lr": 1e-3, "beta": 0.9, "eps": 1e-8},
    fo.Adam: ADAM,
    fo.AdamW: ADAM | {"weight_decay": 1e-2},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", LINES)
def test_the_lines_that_help_shows_give_the_bytes(optimizer, dtype):
    lines = lines_in_help(optimizer)
    expected, p, gradients = typed_in(lines, dtype, **LINES[optimizer])
    assert expected.dtype == dtype
    opt = optimizer(p)
    for g in gradients:
        opt.step(g)
    assert p.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_lines_that_the_readme_shows_give_the_bytes(dtype):
    _, lines = readme_blocks()
    expected, p, gradients = typed_in(lines, dtype, **ADAM)
    opt = fo.Adam(p)
    for g in gradients:
        opt.step(g)
    assert p.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_lines_that_help_shows_of_ewma_give_the_bytes(dtype):
    lines = re.sub(r" {2,}with bias correction.*", "", lines_in_help(fo.ewma))
    series = np.random.default_rng(0).standard_normal((5, 1000)).astype(dtype)
    names, expected = {"beta": 0.999, "v": 0.0, "w": 0.0}, []
    for x in series.astype(np.float64):
        exec(lines, names := names | {"x": x})
        expected.append(names["y"].astype(dtype))
    assert fo.ewma(series, 0.999).tobytes() == np.array(expected).tobytes()


def test_the_readme_code_runs(capsys):
    exec(compile(readme_blocks()[0], "README.md", "exec"), {})
    assert "t=160" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_sdist_leaves_out_nothing_that_a_page_links():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    left_out = [ROOT / name for name in project["tool"]["scikit-build"]["sdist"]["exclude"]]
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            path = (page.parent / target).resolve()
            assert not [name for name in left_out if path.is_relative_to(name)], target


def test_the_code_of_the_storage_page_runs():
    pytest.importorskip("ml_dtypes")
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs/storage.md").read_text(), re.DOTALL)
    exec(compile(code.group(1), "storage.md", "exec"), {})
