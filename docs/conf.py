"""How Sphinx makes a site of these pages: `sphinx-build -W -n docs OUT` (extra [docs]); a broken link is an error."""

project = "nanodistil"
copyright = "nanodistil contributors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3
html_theme = "furo"
html_title = "nanodistil"
html_show_sphinx = False
exclude_patterns = ["pictures"]
