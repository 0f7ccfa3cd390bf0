"""Nods in the detector frame: subtracted from each other, extracted apart, and combined without resampling.

Each exposure keeps its own pixels, trace and wavelengths. What is common is a grid of wavelength bins: an extracted
column is the mean of the spectrum over the interval that its pixel covers, so all exposures together are a linear
system for the bins, ``f_x = sum_k A_xk s_k``, solved by least squares with the columns' own errors. Data are never
interpolated, errors hold no drizzle covariance, and the residuals say whether the exposures agree.
"""

from __future__ import annotations

from ._grid import pixel_edges
from ._join import combine
from ._nods import subtract_nods
from ._result import Agreement, Combined

__all__ = ["Agreement", "Combined", "combine", "pixel_edges", "subtract_nods"]
