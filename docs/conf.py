"""Sphinx: sphinx-astropy's settings, MyST pages, notebooks executed while building. Nothing is fetched."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from sphinx_astropy.conf import v3
from sphinx_astropy.conf.v3 import *  # noqa: F403

import optextract

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / "_ext"))

project = "optextract"
author = "the optextract developers"
project_copyright = author
version = release = optextract.__version__

WITHOUT = {
    # inventories of other projects cannot be fetched while building: their names are shown, but are no links
    "sphinx.ext.intersphinx",
    "sphinx_astropy.ext.intersphinx_toggle",
    # needs of astropy itself
    "sphinx_astropy.ext.changelog_links",
    "sphinx_astropy.ext.generate_config",
    "pytest_doctestplus.sphinx.doctestplus",
    "sphinx.ext.inheritance_diagram",
    "sphinx.ext.todo",
    "sphinx.ext.coverage",
    "matplotlib.sphinxext.plot_directive",
    # the pages name what they document
    "sphinx_automodapi.automodapi",
    "sphinx_automodapi.smart_resolver",
}
extensions = [
    *(name for name in v3.extensions if name not in WITHOUT),
    "myst_nb",
    "sphinx_design",
    # formulas are drawn without internet too
    "sphinx-mathjax-offline",
    # docs/_ext: the recipe and the command line from their own code, figures from the simulator
    "generated",
]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
exclude_patterns = ["_build", "_ext", "README.md", "_generated/*.md"]
suppress_warnings = ["app.add_directive"]

autodoc_typehints = "none"  # the docstrings say it, with shapes and units
autodoc_member_order = "bysource"
autoclass_content = "class"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist", "substitution"]
myst_heading_anchors = 3
myst_substitutions = {"version": version}

# The notebooks stand at the root of the repository, without outputs; they are run here.
shutil.rmtree(HERE / "notebooks", ignore_errors=True)
shutil.copytree(ROOT / "notebooks", HERE / "notebooks", ignore=shutil.ignore_patterns(".*", "*.py", "README.md"))
nb_execution_mode = os.environ.get("OPTEXTRACT_DOCS_NOTEBOOKS", "force")
nb_execution_timeout = 180
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_ipywidgets_js = {}  # widgets are not drawn: their scripts would come from other sites

html_title = "optextract"
html_static_path = ["_static"]
html_css_files = ["optextract.css"]
html_last_updated_fmt = None  # the same pages from the same tree
html_context = {"default_mode": "light"}
html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "navigation_depth": 2,
    "show_toc_level": 2,
    "navbar_align": "left",
    "use_edit_page_button": False,
    "icon_links": [],
    "pygments_light_style": "tango",
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
html_show_sourcelink = False
# pages that have none below them need no navigation beside them
html_sidebars = {name: [] for name in ("install", "start", "panel", "comparison", "extend", "developer", "benchmarks")}

linkcheck_anchors = False
linkcheck_ignore = [r"http://localhost.*"]
