"""The chapters of the course: pages in two languages over one source of code cells.

docs/course/cells/momentum.py holds the cells of docs/course/momentum.md (English) and of
docs/ko/momentum.md (Korean), each under a line ``# %% name``; cells/common.py holds those that
several chapters begin with. A page shows a cell with::

    ```{cell} picture
    :alt: What the picture shows, in the page's language.
    ```

A chapter is a page as pieces, text and cells. `run` executes its cells, `notebook` makes a Jupyter
notebook of it. Sphinx's side is extensions/course.py; the tests use this module directly.
"""

import contextlib
import io
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parents[1]
CELLS = DOCS / "course" / "cells"
LANGUAGES = {"en": DOCS / "course", "ko": DOCS / "ko"}
NAMES = sorted(path.stem for path in CELLS.glob("*.py") if path.stem != "common")

# Marks that only the site shows, and what a notebook has in their place.
FENCE = re.compile(r"^:::+(?:\{[\w-]+\} ?(.*))?$")
CELL = re.compile(r"^```\{cell\} (\w+)\n(?::alt: (.*)\n)?```$", re.MULTILINE)


class Cell(NamedTuple):
    name: str
    alt: str | None


class Result(NamedTuple):
    """What a cell printed, and its figures as PNG."""

    source: str
    printed: str
    figures: list[bytes]


def parse(text: str) -> list[str | Cell]:
    """The pieces of a page in order."""
    pieces: list[str | Cell] = []
    end = 0
    for match in CELL.finditer(text):
        pieces += [text[end:match.start()], Cell(match[1], match[2])]
        end = match.end()
    return [*pieces, text[end:]]


def page(name: str, language: str) -> Path:
    return LANGUAGES[language] / f"{name}.md"


@cache
def cells_of(file: str) -> dict[str, str]:
    parts = re.split(r"^# %% (\w+)\n", (CELLS / f"{file}.py").read_text(), flags=re.MULTILINE)
    return {name: source.strip("\n") for name, source in zip(parts[1::2], parts[2::2])}


def source(chapter: str, cell: str) -> str:
    """The code of a chapter's cell: its own, or a common one."""
    own = cells_of(chapter)
    return own[cell] if cell in own else cells_of("common")[cell]


def cells_on(name: str, language: str) -> list[str]:
    return [piece.name for piece in parse(page(name, language).read_text())
            if isinstance(piece, Cell)]


@cache
def run(name: str) -> dict[str, Result]:
    """Execute the cells of a chapter's English page in order. Its Korean page shows the same."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from fastoptim import plotting

    style = plotting._STYLE | {
        "savefig.dpi": 160,
        "axes.prop_cycle": matplotlib.cycler(color=[
            plotting.BLUE, plotting.VERMILION, plotting.GREEN, plotting.PURPLE, plotting.ORANGE]),
    }
    names: dict[str, object] = {}
    results = {}
    for cell in cells_on(name, "en"):
        code = source(name, cell)
        with matplotlib.rc_context(style), contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, f"{name}:{cell}", "exec"), names)
            figures = []
            for number in plt.get_fignums():
                plt.figure(number).savefig(png := io.BytesIO(), format="png",
                                           metadata={"Software": None})
                figures.append(png.getvalue())
            plt.close("all")
        results[cell] = Result(code, printed.getvalue(), figures)
    return results


def notebook(name: str, language: str) -> str:
    """The chapter as the JSON of a Jupyter notebook."""
    from nbformat import v4, writes

    needs = "# This notebook needs fastoptim, matplotlib, vega-datasets and pandas."
    cells = [v4.new_code_cell(needs)]
    for piece in parse(page(name, language).read_text()):
        if isinstance(piece, Cell):
            cells.append(v4.new_code_cell(source(name, piece.name)))
        elif text := _plain(piece):
            cells.append(v4.new_markdown_cell(text))
    cells.insert(0, cells.pop(1))  # the title first
    for number, cell in enumerate(cells):
        cell["id"] = f"{name}-{number}"  # random otherwise
    return writes(v4.new_notebook(cells=cells, metadata={
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}))


def _plain(text: str) -> str:
    """MyST as the Markdown of a notebook: without directives, a box's title in bold."""
    lines = []
    for line in text.splitlines():
        fence = FENCE.match(line)
        if fence:
            line = f"**{fence[1]}**\n" if fence[1] else ""
        lines.append(line)
    text = re.sub(r"```\{chapter\}\n```\n?", "", "\n".join(lines))
    text = re.sub(r"\{(?:class|func|mod)\}`~?([\w.]+)`", r"`\1`", text)
    text = re.sub(r"\{doc\}`([^<`]+?) *<[^`]*>`", r"\1", text)
    text = re.sub(r"\[([^]]+)\]\([\w./-]+\.md\)", r"\1", text)
    return text.strip()
