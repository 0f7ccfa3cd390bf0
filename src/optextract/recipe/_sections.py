"""The sections of a recipe, one per stage, each field with its type, default and description."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ._fields import Auto, FileRef, Finite, Param, Parameter, Positive, Range, Section

__all__ = [
    "SECTIONS",
    "Background",
    "Flux",
    "Input",
    "Kernel",
    "Mapped",
    "Nods",
    "Noise",
    "Profile",
    "Region",
    "Rejection",
    "Source",
    "Sources",
    "Trace",
]


class Mapped(Section):
    """Which HDU of a FITS file is what (name, 'name,version' or number); with flux named, nothing else is guessed."""

    flux: str | int | None = Field(None, description="HDU of the pixel values; absent: recognised by its name")
    variance: str | int | None = Field(None, description="HDU of the uncertainty")
    variance_kind: Literal["variance", "sigma", "inverse_variance"] = Field("sigma", description="what that HDU holds")
    mask: str | int | None = Field(None, description="HDU of the mask; non-zero is bad")
    wavelength: str | int | None = Field(None, description="HDU of the wavelength, 1D or 2D")
    wavelength_unit: str | None = Field(None, description="unit of the wavelength where the file has none")
    wavelength_polynomial: tuple[Finite, ...] | None = Field(None, description="c0, c1 ... of sum c_k * column**k")
    disp_axis: Literal["x", "y"] | None = Field(None, description="x: dispersion along NAXIS1; y: along NAXIS2")

    @model_validator(mode="after")
    def _consistent(self) -> Mapped:
        named = [name for name in ("variance", "mask", "wavelength") if getattr(self, name) is not None]
        if self.flux is None and named:
            raise ValueError(f"flux must be named where {named[0]} is")
        return self


class Input(Section):
    """How the file is read."""

    unit: str | None = Field(None, description="unit of the pixel values; absent: as the file says, or refused")
    pixel_area_sr: Positive | None = Field(
        None, description="solid angle of a pixel in steradian where the file lacks PIXAR_SR"
    )
    mapping: Mapped | None = Field(None, description="layout of a FITS file of no known format")
    dq_bits: tuple[str, ...] = Field(("DO_NOT_USE",), description="named bits of a JWST DQ image that make a pixel bad")


class Region(Section):
    """Which pixels take part. A pixel takes part if its centre lies inside; integer coordinates are pixel centres."""

    cross: Range | None = Field(None, description="first and last row (cross-dispersion pixel); absent: all")
    disp: Range | None = Field(None, description="first and last column (dispersion pixel); absent: all")
    polygon: tuple[tuple[Finite, Finite], ...] | None = Field(
        None, description="corners (dispersion pixel, cross-dispersion pixel) of a polygon", min_length=3
    )
    mask: FileRef | None = Field(None, description="FITS or .npy image of the frame's shape; non-zero takes part")


class Kernel(Section):
    """The coadded cross-dispersion slice that sources are found in."""

    disp: Range | None = Field(None, description="columns of the slice; absent: the window of highest S/N")
    combine: Literal["median", "mean"] = Field("median", description="how columns are coadded; mean is sigma-clipped")


class Source(Section):
    """One source of the model."""

    name: str | None = Field(None, description="label of the source")
    centre: Param = Field(Parameter(), description="cross-dispersion position at the kernel's centre column, pixel")


class Sources(Section):
    """How many sources there are, and where."""

    number: Auto | Annotated[int, Field(ge=1, le=10)] = Field(1, description="number of sources; auto: by the evidence")
    items: tuple[Source, ...] = Field((), description="sources whose position is known, bounded or fixed")
    find: Literal["continuum", "lines"] = Field(
        "continuum", description="what a source shows; lines: emission lines only"
    )
    planned: bool = Field(True, description="use the header's planned position as a prior")
    planned_sigma: Positive = Field(0.4, description="width of that prior, pixel")
    shape: Literal["common", "separate"] = Field("common", description="one FWHM for all sources, or one each")


class Profile(Section):
    """The cross-dispersion shape of a source, integrated over each pixel."""

    kind: Literal["auto", "gaussian", "moffat", "voigt", "model", "template", "spline"] = Field(
        "auto", description="auto: Gaussian or Moffat by the evidence"
    )
    fwhm: Param = Field(
        Parameter(), description="FWHM at the kernel's centre column, pixel (template: at its middle wavelength)"
    )
    index: Param = Field(Parameter(), description="Moffat index beta (1.5 or more), or Voigt Lorentzian fraction")
    model: str | None = Field(None, description="module:attr of an astropy 1-D model class or instance (kind: model)")
    template: FileRef | None = Field(
        None, description="PSF cube or image, table of effective PSFs, or profile image (kind: template)"
    )
    template_size: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        0.0, description="1 sigma of the source in pixel, for a template tabulated for several sizes"
    )
    template_interpolation: Literal["linear", "cubic"] = Field(
        "linear", description="between the template's wavelengths"
    )
    template_dispersion: Literal["x", "y"] | None = Field(
        None, description="axis of the PSF images along dispersion; absent: DISPAXIS, else x"
    )
    template_broaden: bool = Field(
        True, description="fit a Gaussian broadening of the template (drizzle, size of the source); false: as it is"
    )
    empirical: Auto | bool = Field("auto", description="correct the profile from the data where the S/N carries it")


class Background(Section):
    """What lies under the sources."""

    degree: Auto | Literal["none"] | Annotated[int, Field(ge=0, le=5)] = Field(
        "auto", description="polynomial degree along cross-dispersion; none: no background"
    )
    along: Auto | Literal["column", "smooth"] = Field(
        "auto", description="column: free in each column; smooth: polynomial along dispersion"
    )
    along_degree: Auto | Annotated[int, Field(ge=0, le=30)] = Field(
        "auto", description="degree of the smooth background"
    )
    rows: tuple[Range, ...] | None = Field(
        None, description="rows that may carry background; absent: all of the region"
    )


class Trace(Section):
    """Position and width of the sources along dispersion."""

    degree: Auto | Annotated[int, Field(ge=0, le=20)] = Field("auto", description="degree of the centre's polynomial")
    fwhm_degree: Auto | Annotated[int, Field(ge=0, le=6)] = Field(
        "auto", description="degree of the width's polynomial"
    )
    coefficients: tuple[Param, ...] = Field(
        (),
        description="Legendre coefficients of the centre from degree 1 on, pixel, over the region's columns mapped to "
        "[-1, 1]; degree auto: at least as many",
        max_length=20,
    )
    fwhm_coefficients: tuple[Param, ...] = Field(
        (),
        description="the same of the natural logarithm of the FWHM, for all sources; where profile.fwhm is fixed they "
        "are held too",
        max_length=6,
    )
    given: FileRef | tuple[Finite, ...] | None = Field(
        None, description="a trace to be used: one centre per column, or a file that holds them"
    )
    shift: bool = Field(False, description="let a given trace move as a whole to fit the data")
    bins: Auto | Annotated[int, Field(ge=1)] | tuple[Finite, ...] = Field(
        "auto", description="number of bins along dispersion, or their edges in pixels"
    )

    @field_validator("coefficients", "fwhm_coefficients")
    @classmethod
    def _within_degree(cls, value: tuple[Parameter, ...], info: ValidationInfo) -> tuple[Parameter, ...]:
        name = {"coefficients": "degree", "fwhm_coefficients": "fwhm_degree"}[str(info.field_name)]
        most = info.data.get(name, "auto")
        if most != "auto" and len(value) > most:
            raise ValueError(f"must have no more members than trace.{name} allows, {most}")
        return value

    @model_validator(mode="after")
    def _one_trace(self) -> Trace:
        if self.given is not None and self.coefficients:
            raise ValueError("must have no coefficients where a trace is given")
        return self


class Noise(Section):
    """Where the variance comes from and what is done to it."""

    variance: Literal["auto", "variance", "parts", "weight", "gain", "empirical"] = Field(
        "auto", description="auto: the frame's variance, or the sum of its parts; the others must be asked for"
    )
    weight_scale: Positive = Field(1.0, description="s of variance = 1 / (WHT s^4): output over input pixel scale")
    gain: Positive | None = Field(None, description="electrons per unit of flux; absent: the frame's")
    read_noise: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="read noise in electrons per pixel; absent: the frame's"
    )
    revise: Auto | bool = Field("auto", description="replace data-derived Poisson variance by the model's")
    nod_term: bool = Field(False, description="add the noise of the nod subtraction that the variance lacks")
    scale: Auto | Positive = Field(
        1.0, description="factor on all errors; auto: the pull of source-free pixels, where it is significant"
    )


class Nods(Section):
    """Negative traces that nod subtraction leaves beside the source."""

    mode: Literal["auto", "ignore", "mask", "model"] = Field(
        "auto", description="auto: mask or model where the file tells of nods"
    )
    offsets: tuple[Finite, ...] | None = Field(
        None, description="offsets from the source, pixel; absent: from the header"
    )
    spacing: Param = Field(
        Parameter(),
        description="factor on the offsets; absent: fitted (1, within 5 %) where the offsets are not given, else 1",
    )
    depths: tuple[Finite, ...] | None = Field(
        None, description="depths relative to the source (negative); absent: fitted"
    )

    @field_validator("spacing")
    @classmethod
    def _is_factor(cls, value: Parameter) -> Parameter:
        if (value.value is not None and value.value <= 0) or (value.bounds is not None and value.bounds[0] <= 0):
            raise ValueError("must be greater than 0")
        return value

    @property
    def places(self) -> tuple[float, ...]:
        """Offsets with their spacing as it stands, pixel; empty where none are given."""
        factor = 1.0 if self.spacing.value is None else self.spacing.value
        return () if self.offsets is None else tuple(factor * offset for offset in self.offsets)


class Rejection(Section):
    """Outlier rejection by leave-one-out residuals."""

    mode: Auto | Literal["spare"] | bool = Field(
        "auto",
        description="spare: columns above S/N 20 keep their profile's pixels; "
        "auto: spare where the pipeline has already rejected, else all are looked at",
    )
    threshold: Positive = Field(5.0, description="in units of the pixel's error")
    floor: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.02, description="tolerated error of the profile model, fraction"
    )
    grow: Annotated[int, Field(ge=0, le=5)] = Field(0, description="neighbours along dispersion rejected with each hit")


class Flux(Section):
    """What the flux refers to."""

    window: Literal["auto", "infinite", "region"] = Field(
        "auto", description="infinite: total flux of the profile; region: the part inside the fit window"
    )
    min_profile: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3, description="least good fraction of the profile for a flux to be given; below it NaN and a flag"
    )
    boxcar_width: Auto | Positive = Field(
        "auto", description="full width of the matched boxcar, pixel; auto: 3 FWHM, or half-way to what is nearer"
    )


#: Every section of a recipe by its name.
SECTIONS: dict[str, type[Section]] = {
    "input": Input,
    "region": Region,
    "kernel": Kernel,
    "sources": Sources,
    "profile": Profile,
    "background": Background,
    "trace": Trace,
    "noise": Noise,
    "nods": Nods,
    "rejection": Rejection,
    "flux": Flux,
}
