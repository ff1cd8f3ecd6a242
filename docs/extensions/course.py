"""Sphinx's side of the course: the directives ``cell`` and ``chapter``; see chapters.py."""

import os
from pathlib import Path

import chapters
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

log = logging.getLogger(__name__)
WORDS = {
    "en": ("Download this page as a notebook", "한국어", "ko"),
    "ko": ("이 쪽을 노트북으로 내려받기", "English", "en"),
}


def language_of(docname):
    return "ko" if docname.startswith("ko/") else "en"


def built(env, folder):
    path = Path(env.doctreedir) / folder
    path.mkdir(parents=True, exist_ok=True)
    return path


class CellDirective(SphinxDirective):
    """The code of a cell, and what it printed and drew."""

    required_arguments = 1
    option_spec = {"alt": directives.unchanged}

    def run(self):
        chapter, name = self.env.docname.rpartition("/")[2], self.arguments[0]
        self.env.note_dependency(str(chapters.CELLS / f"{chapter}.py"))
        result = chapters.run(chapter).get(name)
        if result is None:
            log.warning("cell %r is not on the English page", name, location=self.get_location())
            return []
        if bool(result.figures) != ("alt" in self.options):
            log.warning("cell %r must have :alt: where it draws, and only there", name,
                        location=self.get_location())
        parts = [nodes.literal_block(result.source, result.source, language="python",
                                     classes=["cell"])]
        if result.printed:
            printed = result.printed.rstrip()
            parts.append(nodes.literal_block(printed, printed, language="text",
                                             classes=["printed"]))
        here = Path(self.env.doc2path(self.env.docname)).parent
        for number, png in enumerate(result.figures):
            path = built(self.env, "pictures") / f"{chapter}-{name}-{number}.png"
            path.write_bytes(png)
            parts.append(nodes.image(uri=os.path.relpath(path, here), alt=self.options["alt"],
                                     candidates={}))
        return parts


class ChapterDirective(SphinxDirective):
    """A line with the page's notebook and its other language."""

    def run(self):
        docname = self.env.docname
        folder, _, name = docname.rpartition("/")
        language = language_of(docname)
        download, other, other_language = WORDS[language]
        path = built(self.env, f"notebooks/{language}") / f"{name}.ipynb"
        path.write_text(chapters.notebook(name, language))
        here = Path(self.env.doc2path(docname)).parent
        line = nodes.paragraph(classes=["chapter-links"])
        reference = addnodes.download_reference(
            "", "", nodes.Text(download), reftarget=os.path.relpath(path, here), refdoc=docname)
        target = "ko" if other_language == "ko" else "course"
        switch = addnodes.pending_xref("", nodes.inline("", other), refdomain="std", reftype="doc",
                                       reftarget=f"/{target}/{name}", refexplicit=True,
                                       refwarn=True, refdoc=docname)
        line += [reference, nodes.Text(" · "), switch]
        return [line]


def set_language(app, pagename, templatename, context, doctree):
    context["language"] = language_of(pagename)


def setup(app):
    app.add_directive("cell", CellDirective)
    app.add_directive("chapter", ChapterDirective)
    app.connect("html-page-context", set_language)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
