"""The course: its cells and notebooks run, and its two languages are the same course."""

import importlib.util
import re

import pytest

from support import ROOT

for package in ("matplotlib", "vega_datasets"):
    pytest.importorskip(package)


def load_chapters():
    path = ROOT / "docs/extensions/chapters.py"
    spec = importlib.util.spec_from_file_location("chapters", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chapters = load_chapters()
each_chapter = pytest.mark.parametrize("name", chapters.NAMES)


def text_of(name, language):
    return chapters.page(name, language).read_text()


@each_chapter
def test_every_cell_runs_and_is_shown(name):
    results = chapters.run(name)
    assert set(chapters.cells_of(name)) <= set(results)
    assert any(result.figures for result in results.values())
    for piece in chapters.parse(text_of(name, "en")):
        if isinstance(piece, chapters.Cell):
            assert bool(results[piece.name].figures) == (piece.alt is not None), piece.name


@each_chapter
def test_both_languages_show_the_same(name):
    english, korean = text_of(name, "en"), text_of(name, "ko")
    assert chapters.cells_on(name, "en") == chapters.cells_on(name, "ko")
    for part in (r"^#+ ", r"^\|", r"^:::\{(\w+)\}", r"^- ", r"\{(class|func|mod)\}`.*?`"):
        found = [re.findall(part, text, re.MULTILINE) for text in (english, korean)]
        assert found[0] == found[1], part
    formulas = [re.findall(r"^\$\$\n(.*?)\n\$\$$", text, re.MULTILINE | re.DOTALL)
                for text in (english, korean)]
    plain = [[re.sub(r"[,\s]+$", "", formula) for formula in found] for found in formulas]
    assert plain[0] == plain[1]


def test_both_languages_have_the_same_chapters():
    for language, folder in chapters.LANGUAGES.items():
        pages = sorted(path.stem for path in folder.glob("*.md") if path.stem != "index")
        assert pages == chapters.NAMES, language


@pytest.mark.parametrize("language", chapters.LANGUAGES)
@each_chapter
def test_a_notebook_is_the_page(name, language):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.reads(chapters.notebook(name, language), as_version=4)
    nbformat.validate(notebook)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"][1:]
    assert code == [chapters.source(name, cell) for cell in chapters.cells_on(name, language)]
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert notebook.cells[0].source.startswith("# ")
    assert not re.search(r":::|\{\w+\}`|```\{|\.md\)", prose)  # no mark that only the site shows


@each_chapter
def test_a_notebook_runs(name):
    """In a kernel of its own. The Korean one holds the same code: see above."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.reads(chapters.notebook(name, "en"), as_version=4)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    kinds = {kind for cell in notebook.cells for output in cell.get("outputs", [])
             for kind in output.get("data", {})}
    assert "image/png" in kinds
