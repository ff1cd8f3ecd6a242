"""Sphinx's configuration: ``make docs`` renders docs/ and every public docstring."""

import inspect
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))

from jinja2 import Template  # noqa: E402
from numpydoc.validate import validate  # noqa: E402
from sphinx.util import logging  # noqa: E402

import fastoptim  # noqa: E402

project = "fastoptim"
release = version = fastoptim.__version__
copyright = "fastoptim's contributors"
extensions = [
    "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.intersphinx", "numpydoc",
    "myst_parser", "sphinx_design", "sphinx_copybutton", "course", "mathml",
]
exclude_patterns = ["course/cells", "extensions"]
numpydoc_show_class_members = False  # autodoc lists them
autosummary_generate = False  # the pages of docs/reference hold the entries
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]  # functions among the values: nothing to cache

# `make linkcheck` fetches these inventories, and follows every external link; without a network
# the names of other projects stay as they are.
ONLINE = "linkcheck" in sys.argv
intersphinx_mapping = {
    "python": ("https://docs.python.org/3", None),
    "numpy": ("https://numpy.org/doc/stable", None),
} if ONLINE else {}
linkcheck_anchors = False  # pages that a script writes have none

html_theme = "pydata_sphinx_theme"
html_title = "fastoptim"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "header_links_before_dropdown": 8,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}
copybutton_exclude = ".linenos, .gp, .go"

# What numpydoc must find: a docstring (GL08), whose parameters are those of the signature (PR01,
# PR02), in its order (PR03), each with its type (PR04).
CHECKS = {"GL08", "PR01", "PR02", "PR03", "PR04"}
# Not a parameter for users: it collects misspelt options, so that the error can suggest a name.
ALLOWED = ("PR01", "Parameters {'**unknown'} not documented")

# The pages of the reference are templates, so that a new optimizer need not be listed there.
PUBLIC = {name: getattr(fastoptim, name) for name in fastoptim.__all__ if name != "__version__"}
OPTIMIZERS = [name for name, thing in PUBLIC.items()
              if inspect.isclass(thing) and issubclass(thing, fastoptim.Optimizer)]
OPTIMIZERS.sort(key="Optimizer".__eq__)  # what all share comes last
REFERENCE = {f"reference/{path.stem}": Template(path.read_text()).render(optimizers=OPTIMIZERS)
             for path in sorted((HERE / "reference").glob("*.rst"))}


def listed():
    """The names under fastoptim that the reference lists."""
    return re.findall(r":: fastoptim\.(\w+)$", "\n".join(REFERENCE.values()), re.MULTILINE)


def documented():
    """Functions and classes of the reference, with the methods that they define."""
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
        log.warning("docs/reference must list every public name, and lacks fastoptim.%s", name)
    for name in documented():
        found = validate(f"fastoptim.{name}")
        for code, text in found["errors"]:
            if code in CHECKS and (code, text) != ALLOWED:
                log.warning("%s: fastoptim.%s: %s %s", f"{found['file']}:{found['file_line']}",
                            name, code, text)


def render(app, page, source):
    if page in REFERENCE:
        source[0] = REFERENCE[page]


def setup(app):
    app.connect("source-read", render)
    app.connect("builder-inited", check_docstrings)
