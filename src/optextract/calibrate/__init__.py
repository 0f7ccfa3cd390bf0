"""Flux that means something: photometry, slit and aperture losses, comparison with a pipeline's spectrum.

``calibrate(result, photometry, bands)`` fits a low-order correction with its full covariance; `add_to_product` writes
it beside the flux, never over it.
"""

from __future__ import annotations

from ._agree import Compared, compare
from ._fit import Calibration, calibrate, calibrate_spectrum
from ._losses import aperture_fraction, profile_fraction, slit_throughput
from ._photometry import Band, Photometry, band_weights, load_band, make_band, read_catalogue
from ._write import add_to_product, plot, read_product

__all__ = [
    "Band",
    "Calibration",
    "Compared",
    "Photometry",
    "add_to_product",
    "aperture_fraction",
    "band_weights",
    "calibrate",
    "calibrate_spectrum",
    "compare",
    "load_band",
    "make_band",
    "plot",
    "profile_fraction",
    "read_catalogue",
    "read_product",
    "slit_throughput",
]
