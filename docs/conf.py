"""Sphinx's configuration: ``make docs-check`` renders docs/ and every public docstring."""

import inspect
import re
from pathlib import Path

from jinja2 import Template
from numpydoc.validate import validate
from sphinx.util import logging

import fastoptim

project = "fastoptim"
release = version = fastoptim.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc", "myst_parser"]
html_theme = "alabaster"
numpydoc_show_class_members = False  # autodoc lists them

# What numpydoc must find: a docstring (GL08), whose parameters are those of the signature (PR01,
# PR02), in its order (PR03), each with its type (PR04).
CHECKS = {"GL08", "PR01", "PR02", "PR03", "PR04"}
# Not a parameter for users: it collects misspelt options, so that the error can suggest a name.
ALLOWED = ("PR01", "Parameters {'**unknown'} not documented")


# api.rst is a template, so that a new optimizer need not be listed there.
PUBLIC = {name: getattr(fastoptim, name) for name in fastoptim.__all__ if name != "__version__"}
OPTIMIZERS = [name for name, thing in PUBLIC.items()
              if inspect.isclass(thing) and issubclass(thing, fastoptim.Optimizer)]
API = Template((Path(__file__).parent / "api.rst").read_text()).render(optimizers=OPTIMIZERS)


def listed():
    """The names under fastoptim that the API page lists."""
    return re.findall(r":: fastoptim\.(\w+)$", API, re.MULTILINE)


def documented():
    """Functions and classes of the API page, with the methods that they define."""
    for name in listed():
        thing = getattr(fastoptim, name)
        members = vars(thing) if inspect.ismodule(thing) or inspect.isclass(thing) else {}
        if inspect.ismodule(thing):
            members = {key: getattr(thing, key) for key in getattr(thing, "__all__", members)}
        else:
            yield name
        for key, member in members.items():
            if inspect.isfunction(member) and not key.startswith("_"):
                yield f"{name}.{key}"


def check_docstrings(app):
    log = logging.getLogger(__name__)
    for name in PUBLIC.keys() - listed():
        log.warning("docs/api.rst must list every public name, and lacks fastoptim.%s", name)
    for name in documented():
        found = validate(f"fastoptim.{name}")
        for code, text in found["errors"]:
            if code in CHECKS and (code, text) != ALLOWED:
                log.warning("%s: fastoptim.%s: %s %s", f"{found['file']}:{found['file_line']}",
                            name, code, text)


def render(app, page, source):
    if page == "api":
        source[0] = API


def setup(app):
    app.connect("source-read", render)
    app.connect("builder-inited", check_docstrings)
