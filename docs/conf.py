"""How Sphinx makes a site of these pages: `sphinx-build -W -n docs OUT` (extra [docs]); a broken link is an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "lessons"))
import notebooks

project = "nanodistil"
copyright = "nanodistil contributors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3
html_theme = "furo"
html_title = "nanodistil"
html_show_sphinx = False
exclude_patterns = ["pictures"]


def link(app, page, template, context, doctree):
    """A chapter of the course has its notebook beside it."""
    if page.startswith("lessons/") and page != "lessons/index":
        name = page.removeprefix("lessons/") + ".ipynb"
        context["body"] = f'<p><a href="{name}" download>This chapter as a notebook</a></p>{context["body"]}'


def setup(app):
    app.connect("html-page-context", link)
    app.connect("build-finished", lambda app, error: error or notebooks.write(Path(app.outdir) / "lessons"))
