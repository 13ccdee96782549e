"""The documentation as two sites, English and Japanese: what Sphinx is told. How the pages are found is in ``pages.py``.

`make docs` builds both. Nothing is fetched while building, and the pages load nothing from elsewhere.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from flask_zeus_cvs import __version__

project = "Flask-Zeus-CVS"
author = "The Flask-Zeus-CVS authors"
version = release = __version__
html_title = f"{project} {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_domain_indices = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "pages"]
exclude_patterns = ["ja/**", "images/**"]
templates_path = ["_templates"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "language.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/scroll-end.html",
    ]
}

myst_heading_anchors = 4
highlight_language = "none"
suppress_warnings = ["misc.highlighting_failure"]  # … in a Python block stands for what the shop has there
smartquotes = False  # options begin with two hyphens

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
#: Names of others' libraries, which no inventory is fetched for; and what is ours and not public.
nitpick_ignore_regex = [
    ("py:.*", r"(?!flask_zeus_cvs).*"),
    ("py:.*", r"flask_zeus_cvs\..*\._\w+"),
    ("py:.*", r"flask_zeus_cvs\.simulator\.(gateway|notices|script)\.\w+"),
]
