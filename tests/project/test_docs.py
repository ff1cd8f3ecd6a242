"""What the docs show runs, and what they point to is there."""

import doctest
import importlib
import inspect
import math
import pkgutil
import re
import subprocess
import tomllib

import numpy as np
import pytest

import fastoptim as fo

from support import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
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


def blocks(page):
    """The Python blocks of a page, in order."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def readme_blocks():
    return blocks(ROOT / "README.md")


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


# What a block takes from the sentence before it: README's lines of Adam.
GIVEN = {"README.md": ADAM | {"math": math, "t": 1, "m": 0.0, "v": 0.0, "p": np.ones(3),
                              "g": np.ones(3)}}
WITH_CODE = [page for page in PAGES if blocks(page)]


def name_of_page(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of_page)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    """In order, in one namespace, in an empty folder."""
    code = blocks(page)
    for package in set(re.findall(r"^(?:import|from) (\w+)", "".join(code), re.MULTILINE)):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    threads = fo.get_num_threads()
    names = dict(GIVEN.get(page.name, {}))
    try:
        for number, block in enumerate(code, 1):
            exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    finally:
        fo.set_num_threads(threads)


def test_no_code_escapes_the_test():
    """A block is either Python, which runs, or of a language that nothing here runs."""
    for page in PAGES:
        languages = set(re.findall(r"^`{3,}(\S*).*\n(?:.*\n)*?`{3,}$", page.read_text(),
                                   re.MULTILINE))
        assert languages <= {"python", "sh", "text", "md", "{cell}", "{chapter}", "{toctree}",
                             "{include}", "{literalinclude}"}, page


def test_commands_that_pages_show_exist():
    makefile = (ROOT / "Makefile").read_text()
    parser = (ROOT / "python/fastoptim/cli.py").read_text()
    for page in PAGES:
        text = page.read_text()
        shown = "\n".join(re.findall(r"^```sh\n(.*?)^```|^ {4}(?=make|python|fastoptim)(.*)$",
                                     text, re.DOTALL | re.MULTILINE)[0]) if "```sh" in text else ""
        shown += "\n".join(re.findall(r"`([^`\n]+)`", text))
        for target in re.findall(r"\bmake ([a-z-]+)", shown):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), (page, target)
        for program in re.findall(r"python ((?:bench|docs)/\w+\.py)", shown):
            assert (ROOT / program).exists(), (page, program)
        for command in re.findall(r"\bfastoptim (\w+)", shown):
            assert f'"{command}"' in parser, (page, command)


@pytest.mark.parametrize("page", PAGES, ids=name_of_page)
def test_links_lead_somewhere(page):
    for target in links(page):
        assert (page.parent / target).exists(), target


def links(page):
    """The relative links of a page's text."""
    text = re.sub(r"^(`{3,}).*?^\1", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [target for target in re.findall(r"\]\(([^)#]+)", text) if "://" not in target]


def test_the_sdist_leaves_out_nothing_that_a_page_links():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    left_out = [ROOT / name for name in project["tool"]["scikit-build"]["sdist"]["exclude"]]
    for page in PAGES:
        for target in links(page):
            path = (page.parent / target).resolve()
            assert not [name for name in left_out if path.is_relative_to(name)], target


def test_the_patch_of_the_walk_through_fits():
    """`make walkthrough` builds and tests what it makes of the sources."""
    subprocess.run(["git", "apply", "--check", "docs/develop/softsign.patch"], cwd=ROOT, check=True)
