"""Recipe: the whole state of an extraction, one frozen section per stage."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from .errors import RecipeError, bad_value

__all__ = [
    "SCHEMA",
    "Background",
    "FileRef",
    "Flux",
    "Input",
    "Kernel",
    "Mapped",
    "Nods",
    "Noise",
    "Parameter",
    "Profile",
    "Recipe",
    "Region",
    "Rejection",
    "Source",
    "Sources",
    "Trace",
]

#: The version of the recipe's layout; older layouts are migrated on load.
SCHEMA = 1

Auto = Literal["auto"]
T = TypeVar("T", bound="Section")


def _tuples(value: Any) -> Any:
    """Lists to tuples and numpy scalars to Python's, all the way down: what holds a list is not frozen."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _tuples(value.tolist())
    if isinstance(value, list | tuple):
        return tuple(_tuples(item) for item in value)
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    return value


def _pair(value: Any) -> Any:
    value = _tuples(value)
    if isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int | float) for v in value):
        if not value[0] < value[1]:
            raise ValueError("must be (lower, upper) with lower < upper")
        if not all(np.isfinite(value)):
            raise ValueError("must be two finite numbers")
    return value


Range = Annotated[tuple[float, float], BeforeValidator(_pair)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Section(BaseModel):
    """A frozen part of the recipe: strict types, unknown fields refused by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileRef(Section):
    """A file that the recipe needs beside it, by path and checksum."""

    path: str = Field(description="path, absolute or relative to the recipe's folder")
    sha256: str | None = Field(None, description="checksum; a file that differs is refused", pattern="^[0-9a-f]{64}$")

    @classmethod
    def of(cls, path: str | Path) -> FileRef:
        """Reference an existing file with its present checksum."""
        return cls(path=str(path), sha256=hashlib.sha256(Path(path).read_bytes()).hexdigest())

    def resolve(self) -> Path:
        """Return the path of the file after checking that it is there and unchanged.

        Raises
        ------
        RecipeError
            If the file is absent or its checksum is another one.
        """
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise bad_value("path", "FileRef", "an existing file", self.path, RecipeError)
        if self.sha256 is not None:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
            if found != self.sha256:
                raise bad_value(
                    "sha256", f"FileRef({self.path!r})", f"that of the file, {found}", self.sha256, RecipeError
                )
        return path


class Parameter(Section):
    """How one fitted parameter starts, and how far it may go."""

    value: Finite | None = Field(None, description="initial value; absent: found from the data")
    fixed: bool = Field(False, description="keep the value as it is")
    bounds: Range | None = Field(None, description="lower and upper limit")

    @model_validator(mode="after")
    def _consistent(self) -> Parameter:
        if self.fixed and self.value is None:
            raise ValueError("must have a value where it is fixed")
        if self.value is not None and self.bounds is not None and not self.bounds[0] <= self.value <= self.bounds[1]:
            raise ValueError(f"must start within its bounds {self.bounds}")
        return self


def _parameter(value: Any) -> Any:
    return {"value": value} if isinstance(value, int | float | np.generic) and not isinstance(value, bool) else value


Param = Annotated[Parameter, BeforeValidator(_parameter)]


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

    degree: Auto | Annotated[int, Field(ge=0, le=10)] = Field("auto", description="degree of the centre's polynomial")
    fwhm_degree: Auto | Annotated[int, Field(ge=0, le=6)] = Field(
        "auto", description="degree of the width's polynomial"
    )
    given: FileRef | tuple[Finite, ...] | None = Field(
        None, description="a trace to be used: one centre per column, or a file that holds them"
    )
    shift: bool = Field(False, description="let a given trace move as a whole to fit the data")
    bins: Auto | Annotated[int, Field(ge=1)] | tuple[Finite, ...] = Field(
        "auto", description="number of bins along dispersion, or their edges in pixels"
    )


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
    depths: tuple[Finite, ...] | None = Field(
        None, description="depths relative to the source (negative); absent: fitted"
    )


class Rejection(Section):
    """Outlier rejection by leave-one-out residuals."""

    mode: Auto | bool = Field(
        "auto", description="auto: on, but off above S/N 20 where the pipeline has already rejected"
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
        "auto", description="full width of the matched boxcar, pixel; auto: 3 FWHM or the region"
    )


_SECTIONS: dict[str, type[Section]] = {
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


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested mappings; anything that is not a mapping replaces what was there."""
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _dumped(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, Mapping):
        return {key: _dumped(item) for key, item in value.items()}
    return value


def _explain(error: ValidationError, caller: str) -> RecipeError:
    """Turn pydantic's report into one sentence a problem, naming the field and the value."""
    lines: list[str] = []
    broken: dict[tuple[str, str], list[str]] = {}
    for problem in error.errors():
        # union members appear in the location as tags such as 'int' or "literal['auto']"; users know fields only
        where = ".".join(str(part) for part in problem["loc"] if _is_field(part))
        if problem["type"] == "extra_forbidden":
            known = _fields_at(problem["loc"][:-1])
            hint = f" (known: {', '.join(known)})" if known else ""
            lines.append(f"unknown field {where!r}{hint}")
        else:
            broken.setdefault((where, repr(problem["input"])), []).append(_rule(problem["msg"]))
    for (where, value), rules in broken.items():
        shown = value if len(value) <= 120 else value[:117] + "..."
        rule = " or ".join(dict.fromkeys(rules)).replace(" or be ", " or ")
        lines.append(f"the {where!r} parameter must {rule}. Got {shown} instead")
    return RecipeError(f"{caller} is not valid: " + "; ".join(dict.fromkeys(lines)))


def _rule(message: str) -> str:
    """Pydantic's sentence as what follows "must"."""
    for start, instead in (("Value error, must ", ""), ("Input should ", ""), ("Tuple should ", "")):
        if message.startswith(start):
            return instead + message.removeprefix(start).replace(" after validation", "")
    return f"be valid ({message})"


def _is_field(part: int | str) -> bool:
    return isinstance(part, int) or (part.isidentifier() and part not in {"int", "float", "str", "tuple", "bool"})


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    if not location:
        return ["schema", *_SECTIONS]
    section = _SECTIONS.get(str(location[0]))
    return list(section.model_fields) if section is not None and len(location) == 1 else []


class Recipe(Section):
    """Every setting of an extraction; two equal recipes on the same frame give bit-identical flux.

    Each field is a frozen section; see the sections for their fields. Build a variant with `updated`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)

    schema_version: Literal[1] = Field(1, alias="schema", description="layout of this file")
    input: Input = Field(Input(), description="how the file is read")
    region: Region = Field(Region(), description="which pixels take part")
    kernel: Kernel = Field(Kernel(), description="the coadded slice that sources are found in")
    sources: Sources = Field(Sources(), description="how many sources, and where")
    profile: Profile = Field(Profile(), description="cross-dispersion shape of a source")
    background: Background = Field(Background(), description="what lies under the sources")
    trace: Trace = Field(Trace(), description="position and width along dispersion")
    noise: Noise = Field(Noise(), description="the variance")
    nods: Nods = Field(Nods(), description="negative traces of nod subtraction")
    rejection: Rejection = Field(Rejection(), description="outlier rejection")
    flux: Flux = Field(Flux(), description="what the flux refers to")

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**_tuples(data))
        except ValidationError as error:
            raise _explain(error, "the recipe") from error

    def updated(self, **sections: Any) -> Recipe:
        """Return a new recipe with some fields changed.

        Parameters
        ----------
        **sections : mapping or section
            Per section a mapping of the fields to change (``trace={"degree": 2}``), or a whole section.

        Returns
        -------
        Recipe
            The changed recipe, validated anew.

        Raises
        ------
        RecipeError
            If a name is unknown or a value breaks its rule.
        """
        changes = {}
        for name, value in sections.items():
            if isinstance(value, Section):
                base = {name: value.model_dump()}
            else:
                base = (
                    {name: _merge(_dumped(getattr(self, name, {})), _dumped(value))}
                    if isinstance(value, Mapping)
                    else {name: value}
                )
            changes.update(base)
        return Recipe(**{**self._plain(), **changes})

    def _plain(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True)

    def to_yaml(self, *, full: bool = False) -> str:
        """Return the recipe as YAML text.

        Parameters
        ----------
        full : bool, optional
            Write the defaults too, not only what differs from them.
        """
        data = self.model_dump(by_alias=True, mode="json", exclude_defaults=not full)
        data.pop("schema", None)
        return yaml.safe_dump({"schema": self.schema_version, **data}, sort_keys=False, allow_unicode=True)

    @classmethod
    def from_yaml(cls, text: str, *, name: str = "the recipe") -> Recipe:
        """Build a recipe from YAML text (safe load: no code is run).

        Raises
        ------
        RecipeError
            If the text is not YAML, not a mapping, of an unknown schema, or has a wrong field.
        """
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"{name} is not valid YAML: {error}") from error
        if data is None:
            data = {}
        if not isinstance(data, dict):
            raise bad_value(name, "Recipe.from_yaml", "a mapping of sections", data, RecipeError)
        return cls(**_migrate({str(key): value for key, value in data.items()}, name))

    @classmethod
    def load(cls, path: str | Path) -> Recipe:
        """Read a recipe; paths of files that it refers to are taken relative to its folder.

        Raises
        ------
        RecipeError
            If the file cannot be read or holds no valid recipe.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"the recipe {path} cannot be read: {error}") from error
        recipe = cls.from_yaml(text, name=f"the recipe {path}")
        return recipe._relocated(path.resolve().parent)

    def save(self, path: str | Path, *, full: bool = False) -> None:
        """Write the recipe as YAML, whole or not at all."""
        path = Path(path)
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(self.to_yaml(full=full), encoding="utf-8")
        temporary.replace(path)

    def digest(self) -> str:
        """Return a SHA-256 checksum of the recipe's content, defaults included."""
        return hashlib.sha256(self.to_yaml(full=True).encode()).hexdigest()

    def _relocated(self, folder: Path) -> Recipe:
        changes = {}
        for section, name in (("region", "mask"), ("profile", "template"), ("trace", "given")):
            ref = getattr(getattr(self, section), name)
            if isinstance(ref, FileRef) and not Path(ref.path).expanduser().is_absolute():
                changes[section] = {name: {"path": str(folder / ref.path), "sha256": ref.sha256}}
        return self.updated(**changes) if changes else self


def _migrate(data: dict[str, Any], name: str) -> dict[str, Any]:
    """Bring an older layout up to `SCHEMA`; there is none yet."""
    schema = data.get("schema", SCHEMA)
    if schema != SCHEMA:
        raise bad_value("schema", name, f"{SCHEMA} (this version of optextract knows no other)", schema, RecipeError)
    return data
