"""How Sphinx makes the site: `make docs`."""

from __future__ import annotations

import importlib.metadata

project = "raftlab"
author = "the raftlab authors"
copyright = "the raftlab authors"
release = importlib.metadata.version("raftlab")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header"]  # the gallery's pages begin their sections where they like

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_use_type_comments = False
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "raftlab"
html_copy_source = False
html_show_sphinx = False
