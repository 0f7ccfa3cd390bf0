"""The steps of the panel, the fields of the recipe that stand in each, and what they are called on the screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..recipe import Recipe

__all__ = ["ABSENT", "ELSEWHERE", "EXAMPLES", "LABELS", "STEPS", "Step", "label_of", "section_of"]


def section_of(name: str) -> Any:
    """Return the class of a section of the recipe."""
    return Recipe.model_fields[name].annotation


@dataclass(frozen=True)
class Step:
    """One step of the panel, in the order of thought.

    Attributes
    ----------
    key, title : str
        Its name in the API, and on the screen.
    sections : tuple of str
        Sections of the recipe whose fields stand in it.
    fields : tuple of str
        Fields, ``section.field``, that are shown at once; the others of the sections are shown when asked for.
    """

    key: str
    title: str
    sections: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def more(self) -> tuple[str, ...]:
        """Fields that are shown when asked for."""
        found = [f"{section}.{key}" for section in self.sections for key in section_of(section).model_fields]
        return tuple(name for name in found if name not in self.fields and name not in ELSEWHERE)


#: How a choice that may be absent shows that it is.
ABSENT = "not given"

#: Fields that are set by drawing, and by the list of sources.
ELSEWHERE = ("region.polygon", "region.mask", "sources.items")

STEPS = (
    Step("source", "Source", ("input",), ("input.unit",)),
    Step("region", "Region", ("region",), ("region.cross", "region.disp")),
    Step("kernel", "Kernel", ("kernel", "sources", "profile"), ("kernel.disp", "sources.number", "profile.kind")),
    Step("background", "Background", ("background", "nods"), ("background.degree", "background.along", "nods.mode")),
    Step("trace", "Trace & width", ("trace",), ("trace.degree", "trace.fwhm_degree")),
    Step(
        "noise",
        "Noise & rejection",
        ("noise", "rejection"),
        ("noise.variance", "rejection.mode", "rejection.threshold"),
    ),
    Step("extract", "Extract", ("flux",)),
    Step("compare", "Compare"),
)

#: What the person at the screen reads; any other field is called by its own name.
LABELS = {
    "region.cross": "Rows", "region.disp": "Columns", "kernel.disp": "Slice columns",
    "kernel.combine": "Coadd by", "sources.number": "Number of sources", "profile.kind": "Profile",
    "profile.fwhm": "FWHM (pixel)", "profile.index": "Moffat index, or Voigt fraction",
    "profile.empirical": "Correct the profile from the data", "profile.model": "Your model (module:attr)",
    "profile.template": "PSF file", "profile.template_size": "Source size (sigma, pixel)",
    "profile.template_interpolation": "Interpolate the PSF", "profile.template_broaden": "Broaden the PSF to fit",
    "profile.template_dispersion": "Dispersion axis of the PSF", "sources.find": "Find sources by",
    "sources.shape": "FWHM of several sources",
    "sources.planned": "Use the planned position", "sources.planned_sigma": "Planned position: width (pixel)",
    "background.degree": "Degree", "background.along": "Along dispersion",
    "background.along_degree": "Degree along dispersion",
    "background.rows": "Background rows", "nods.mode": "Negative nod traces",
    "nods.offsets": "Nod offsets (pixel)", "nods.spacing": "Factor on the nod offsets", "nods.depths": "Nod depths",
    "trace.degree": "Degree of the centre", "trace.fwhm_degree": "Degree of the width",
    "trace.coefficients": "Centre: coefficients (pixel)", "trace.bins": "Bins along dispersion",
    "trace.fwhm_coefficients": "Width: coefficients (of ln FWHM)",
    "trace.given": "Given trace (file)", "trace.shift": "Let it move to fit",
    "noise.variance": "Variance from", "noise.scale": "Factor on all errors",
    "noise.nod_term": "Add the noise of nod subtraction", "noise.revise": "Poisson variance from the model",
    "noise.weight_scale": "Pixel scale ratio of WHT", "noise.gain": "Gain (electron per unit)",
    "noise.read_noise": "Read noise (electron)", "rejection.mode": "Reject outliers",
    "rejection.threshold": "Threshold (sigma)", "rejection.floor": "Model error floor (fraction)",
    "rejection.grow": "Neighbours rejected too", "flux.window": "Flux refers to",
    "flux.min_profile": "Least good profile fraction", "flux.boxcar_width": "Boxcar width (pixel)",
    "input.unit": "Unit of the pixels", "input.mapping": "Layout of the file",
    "input.dq_bits": "Bad DQ bits", "input.pixel_area_sr": "Pixel area (sr)",
}  # fmt: skip


#: What could be typed, where that is not plain.
EXAMPLES = {
    "background.rows": "[[2, 8], [30, 38]]", "nods.offsets": "[-5.1, 5.1]", "nods.depths": "[-0.33, -0.5]",
    "input.mapping": "{flux: 1, variance: 2}", "trace.bins": "auto, 40, or edges [0, 300, 900]",
    "profile.model": "module:attr", "input.unit": "MJy / sr", "profile.template": "psf.fits",
    "trace.given": "trace.npy", "input.pixel_area_sr": "4.8e-13", "noise.gain": "1.0", "noise.read_noise": "6.0",
}  # fmt: skip


def label_of(name: str) -> str:
    """Return what a field is called on the screen."""
    return LABELS.get(name, name.partition(".")[2].replace("_", " ").capitalize())
