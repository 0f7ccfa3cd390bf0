"""Cross-dispersion profiles, integrated over each pixel."""

from ._model import from_model, make_shape
from ._shape import Gaussian, Shape
from ._table import MIN_MOFFAT_INDEX, MOFFAT_INDICES, Moffat, Tabulated, Voigt, moffat_between

__all__ = [
    "MIN_MOFFAT_INDEX",
    "MOFFAT_INDICES",
    "Gaussian",
    "Moffat",
    "Shape",
    "Tabulated",
    "Voigt",
    "from_model",
    "make_shape",
    "moffat_between",
]
