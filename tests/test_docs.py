"""What the docs show runs, and what they point to is there."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import fastoptim as fo

ROOT = Path(__file__).parents[1]
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


def test_the_readme_code_runs(capsys):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    exec(compile(code.group(1), "README.md", "exec"), {})
    assert "t=160" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_code_of_the_storage_page_runs():
    pytest.importorskip("ml_dtypes")
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs/storage.md").read_text(), re.DOTALL)
    exec(compile(code.group(1), "storage.md", "exec"), {})
