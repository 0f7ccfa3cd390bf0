"""PSF templates: profiles from PSF models, empirical tables, bright sources and profile images.

``load_template(path)`` reads one, ``Template.image`` paints it along a trace, a recipe uses it by
``profile: {kind: template, template: {path: ...}}``.
"""

from __future__ import annotations

from ._fit import Placed, place_template
from ._make import compare_interpolation, make_stpsf_cube, save_template
from ._read import Template, load_template

__all__ = [
    "Placed",
    "Template",
    "compare_interpolation",
    "load_template",
    "make_stpsf_cube",
    "place_template",
    "save_template",
]
