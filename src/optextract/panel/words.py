"""What the panel says in words: the line of each step, badges, code to copy."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u

from ..frame import Frame
from ..recipe import Recipe
from ..report.units import words as unit_name
from ..results import Extraction, Flag
from .marks import candidate_colour

if TYPE_CHECKING:
    from ..validate import Certificate

__all__ = ["as_command", "as_python", "badges", "candidates", "figure", "signal_to_noise", "summaries", "typeset"]

#: Flags of columns that are worth a badge, in words, where they touch more than this fraction of the columns.
_FLAG_FRACTION = 0.02
_FLAG_WORDS = {
    Flag.LOW_PROFILE: "too little of the profile on good pixels",
    Flag.PARTIAL_PROFILE: "part of the profile on bad pixels",
    Flag.REJECTED_PIXELS: "outliers rejected",
    Flag.RESTORED_PIXELS: "rejected core pixels restored",
    Flag.BLENDED: "sources too close to tell apart",
    Flag.PRIOR_SHAPE: "trace and width from the prior, not from these data",
    Flag.EDGE: "profile reaches beyond the region",
    Flag.NEGATIVE_NOD: "negative nod trace on the source",
    Flag.LONE_COLUMN: "features of one column, or cosmic rays like them",
    Flag.NO_BACKGROUND: "no pixel that tells the background",
}


#: Where a variance comes from.
_VARIANCES = {
    "variance": "variance as given",
    "parts": "variance: sum of its parts",
    "weight": "variance from the weights",
    "gain": "variance from gain and read noise",
    "empirical": "variance measured on the data",
}


def typeset(text: str) -> str:
    """Return a sentence as a screen can show it: the library writes what every terminal can."""
    return text.replace("+-", "\u00b1")


def _unit(unit: u.UnitBase) -> str:
    name = "pixel" if unit == u.pix else unit_name(unit)
    return name if name else "no unit"


def _limits(limits: tuple[float, float] | None) -> str:
    return "all" if limits is None else f"{limits[0]:.5g} to {limits[1]:.5g}"


def source_line(label: str, frame: Frame | None, recipe: Recipe) -> str:
    """Describe the data."""
    if frame is None:
        return "no 2D spectrum"
    meta = frame.meta if frame.meta is not None else {}
    name = meta.get("source_name") or meta.get("slit")
    unit = recipe.input.unit if recipe.input.unit is not None else _unit(frame.unit)
    parts = [
        label,
        *([str(name)] if name and str(name) not in label else []),
        f"{frame.n_cross} x {frame.n_disp}",
        unit,
    ]
    return ", ".join(parts)


def region_line(recipe: Recipe) -> str:
    """Describe the region."""
    region = recipe.region
    if region.mask is not None:
        return "a mask of pixels"
    shape = [f"a polygon of {len(region.polygon)} corners"] if region.polygon is not None else []
    if region.cross is None and region.disp is None:
        return shape[0] if shape else "the whole image"
    return ", ".join([*shape, f"rows {_limits(region.cross)}", f"columns {_limits(region.disp)}"])


def summaries(label: str, frame: Frame | None, recipe: Recipe, result: Extraction | None) -> dict[str, str]:
    """Return one line for each step that states what it holds.

    Parameters
    ----------
    label : str
        Name of the entry of the data collection.
    frame : Frame or None
        Its frame, where it could be read.
    recipe : Recipe
        What is asked for.
    result : Extraction or None
        What was found with it, where it could be.
    """
    lines = {"source": source_line(label, frame, recipe), "region": region_line(recipe)}
    if result is None:
        lines |= {
            "kernel": f"{recipe.profile.kind} profile, {_limits(recipe.kernel.disp)} columns",
            "background": f"degree {recipe.background.degree}",
            "trace": f"degree {recipe.trace.degree}",
            "noise": f"variance {recipe.noise.variance}",
        }
        return lines
    chosen, kernel, trace = result.resolved, result.kernel, result.trace
    fwhm: Any = (
        np.nanmedian(result.fwhm[:, kernel.columns[0] : kernel.columns[1] + 1], axis=1) if result.fwhm.size else []
    )
    where = ", ".join(f"{centre:.2f}" for centre in kernel.centres)
    count = "" if result.n_source == 1 else f"{result.n_source} sources, "
    widths = ", ".join(f"{value:.2f}" for value in np.atleast_1d(fwhm))
    lines["kernel"] = f"{count}{chosen.profile.kind}, row {where}, FWHM {widths} px"
    degree = chosen.background.degree
    lines["background"] = "none" if degree == "none" else f"degree {degree}, {chosen.background.along}"
    if chosen.nods.mode in ("mask", "model") and chosen.nods.offsets:
        lines["background"] += f"; nods: {chosen.nods.mode} {len(chosen.nods.offsets)}"
    lines["trace"] = "given" if trace.degree < 0 else f"degree {trace.degree}, rms {trace.rms:.2f} px"
    lines["trace"] += f"; width degree {trace.fwhm_degree}" if trace.fwhm_degree >= 0 else ""
    if not trace.from_data:
        lines["trace"] += " (from the prior)"
    rejected = int(result.rejected.sum())
    kind = chosen.noise.variance
    lines["noise"] = f"{_VARIANCES.get(kind, kind)}; {rejected} pixel{'' if rejected == 1 else 's'} rejected"
    lines["extract"] = f"S/N {signal_to_noise(result):.1f} a column (median), {_unit(result.unit)}"
    gain = figure(result, "gain")
    lines["compare"] = "" if gain is None else f"S/N gain over boxcar {gain:.2f}"
    return lines


def signal_to_noise(result: Extraction, source: int = 0) -> float:
    """Median S/N of the columns of a spectrum."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = result.flux[source] / result.uncertainty[source]
    good = ratio[np.isfinite(ratio)]
    return float(np.median(good)) if good.size else float("nan")


def figure(result: Extraction, name: str, source: int = 0) -> float | None:
    """Return a figure of the quality as a number, None where there is none."""
    value = result.quality.get(name)
    if isinstance(value, Mapping):
        found = [value.get(kind) for kind in ("profile", "pixel")]
        value = next((number for number in found if number is not None and np.isfinite(number)), None)
    if value is None or isinstance(value, str):
        return None
    values = np.atleast_1d(np.asarray(value, dtype=float))
    value = values[source] if source < values.size else values[0]
    return float(value) if np.isfinite(value) else None


def candidates(result: Extraction) -> list[dict[str, Any]]:
    """Return the profiles that were compared on the kernel slice, best first, with chi2 and BIC, and which is used."""
    # tenths tell good fits apart, and only crowd the table where none is good
    digits = 1 if all(found.bic < 1000 for found in result.kernel.candidates) else 0
    return [
        {
            "kind": found.kind,
            "colour": candidate_colour(found.kind),
            "chi2": f"{found.chi2:.{digits}f}",
            "bic": f"{found.bic:.{digits}f}",
            "fwhm": f"{found.fwhm:.2f}",
            "chosen": found.kind == result.resolved.profile.kind,
        }
        for found in result.kernel.candidates
    ]


def badges(result: Extraction) -> list[dict[str, str]]:
    """Return what deserves a badge: efficiency, pull, gain, flags in words.

    Returns
    -------
    list of dict
        ``text``, ``hint`` and ``colour`` (green, orange, red, grey).
    """
    found = []

    def add(text: str, hint: str, colour: str) -> None:
        found.append({"text": text, "hint": hint, "colour": colour})

    def each(name: str) -> list[float]:
        values = [figure(result, name, source) for source in range(result.n_source)]
        return [value for value in values if value is not None]

    def listed(values: list[float]) -> str:
        return ", ".join(f"{value:.2f}" for value in values)

    efficiency = each("efficiency")
    if efficiency:
        colour = "green" if min(efficiency) > 0.95 else "orange"
        add(f"efficiency {listed(efficiency)}", "S/N over the Cram\u00e9r-Rao bound of this frame", colour)
    pull = figure(result, "pull")
    if pull is not None:
        colour = "green" if 0.8 <= pull <= 1.25 else "orange"
        add(f"pull {pull:.2f}", "rms of source-free pixels in units of their error; honest errors give 1", colour)
    gain = each("gain")
    if gain:
        add(f"S/N gain {listed(gain)}", "S/N over that of the matched boxcar", "green" if min(gain) >= 1 else "orange")
    flags, count = np.bitwise_or.reduce(result.flags, axis=0), result.flags.shape[1]
    for flag, text in _FLAG_WORDS.items():
        fraction = np.count_nonzero(flags & flag) / count
        if fraction > _FLAG_FRACTION:
            add(f"{text}: {100 * fraction:.0f} %", f"flag {flag.name}, fraction of the columns", "grey")
    return found


def certificate(found: Certificate) -> dict[str, Any]:
    """Return a certificate as sentences, and as one line of figures a level."""

    def percent(value: float, error: float) -> str:
        return f"{100 * value:.1f} \u00b1 {100 * error:.1f} %" if np.isfinite(value) else ""

    rows = []
    for level in found.levels:
        figures = found.at(level)
        rows.append(
            {
                "snr": f"{level:g}",
                "bias": percent(figures["bias"], figures["bias_error"]),
                "pull": f"{figures['pull_rms']:.2f}" if np.isfinite(figures["pull_rms"]) else "",
                "found": f"{100 * figures['completeness']:.0f} %",
            }
        )
    return {"words": [typeset(line) for line in found.words()], "rows": rows}


def as_python(recipe: Recipe, path: str | None, slit: str | int | None) -> str:
    """Return the extraction as Python code."""
    lines = ["import optextract as ox", ""]
    arguments = repr("YOUR_FILE.fits" if path is None else path)
    if slit is not None:
        arguments += f", slit={slit!r}"
    changed = recipe.model_dump(by_alias=True, exclude_defaults=True)
    changed.pop("schema", None)
    if recipe.input.model_dump(exclude_defaults=True):
        arguments += ", settings=recipe.input"
    if changed:
        lines.append("recipe = ox.Recipe(")
        lines += [f"    {section}={values!r}," for section, values in changed.items()]
        lines.append(")")
    else:
        lines.append("recipe = ox.Recipe()")
    lines += [f"frame = ox.read({arguments})", "result = ox.extract(frame, recipe)", "spectrum = result.to_spectrum()"]
    return "\n".join(lines)


def as_command(recipe_path: str, path: str | None, slit: str | int | None) -> str:
    """Return the extraction as a command, with the recipe in a file."""
    words = ["optextract", "run", "YOUR_FILE.fits" if path is None else path, "--recipe", recipe_path]
    if slit is not None:
        words += ["--slit", str(slit)]
    return shlex.join(words)
