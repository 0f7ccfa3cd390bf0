"""Draw the README's figure: the archive's spectrum and ours of a galaxy at z = 7.67, from the same 2D file.

    python docs/readme_figure.py [DATA]     # the folder of real observations; default: $OPTEXTRACT_DATA

Observation: JWST NIRSpec MOS, programme 2736 (SMACS J0723, ERO), source 6355, G395M; CAL 1.12.5.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import optextract as ox
from optextract.io import read_x1d
from optextract.report.compare import compare, find_aperture

STEM = "nirspec_mos_smacs_6355/jw02736-o007_s06355_nirspec_f290lp-g395m_"
Z = 7.665
LINES = {"Hβ": 0.48627, "[O III] 4960": 0.49603, "[O III] 5008": 0.50082}
BLUE, RED, GREY = "#0072B2", "#D55E00", "0.45"


def draw(data: Path, target: Path) -> None:
    frame = ox.read(data / f"{STEM}s2d.fits")
    result = ox.extract(frame)
    archive = read_x1d(data / f"{STEM}x1d.fits")
    other = archive.flux.to_value("uJy")
    lower, upper = find_aperture(frame, archive.flux.to_value(frame.flux_unit))
    beside = compare(result, archive, label="archive", aperture=(lower, upper))
    wave = result.wavelength.to_value("um")
    shown = np.flatnonzero((wave > 4.16) & (wave < 4.39))
    image = np.where(frame.good, frame.flux, np.nan)

    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(8, 5.6), sharex=True, layout="constrained", height_ratios=(1, 1.35)
    )
    edges = wave[[shown[0], shown[-1]]]
    limit = 6 * 1.4826 * np.nanmedian(np.abs(image[:, shown]))
    top.imshow(
        image[:, shown[0] : shown[-1] + 1], origin="lower", aspect="auto", cmap="Greys", vmin=-limit, vmax=2 * limit,
        extent=(edges[0], edges[1], -0.5, frame.n_cross - 0.5), interpolation="nearest",
    )  # fmt: skip
    top.axhspan(lower, upper, fill=False, ec=RED, lw=1.6, ls="--", label="aperture of the archive's x1d")
    top.plot(wave[shown], result.centre[0, shown], color=BLUE, lw=1.4, label="optextract: trace ± FWHM")
    for sign in (-1, 1):
        top.plot(wave[shown], (result.centre + sign * result.fwhm)[0, shown], color=BLUE, lw=0.8)
    top.set_ylim(8, 36)
    top.set_ylabel("cross-dispersion (pixel)")
    top.legend(loc="upper left", fontsize=8, framealpha=0.9)
    top.set_title("JWST NIRSpec, a galaxy at z = 7.67 behind SMACS 0723: three spectra of one 2D file", fontsize=10)

    by_hand = read_x1d(data / f"{STEM}extract1dstep.fits")
    for flux, error, colour, name in (
        (other, archive.uncertainty.to_value("uJy"), RED, "archive's x1d: plain sum in its aperture"),
        (
            by_hand.flux.to_value("uJy"),
            by_hand.uncertainty.to_value("uJy"),
            GREY,
            "the pipeline again, aperture set by hand: plain sum of rows 21 to 28",
        ),
        (1e6 * result.flux[0], 1e6 * result.uncertainty[0], BLUE, "optextract: optimal, all settings automatic"),
    ):
        flux = np.where(frame.good.any(axis=0), flux, np.nan)
        bottom.step(wave[shown], flux[shown], color=colour, lw=1.1, where="mid", label=name)
        low, high = (flux - error)[shown], (flux + error)[shown]
        bottom.fill_between(wave[shown], low, high, color=colour, alpha=0.2, lw=0, step="mid")
    for name, rest in LINES.items():
        near = np.abs(wave - rest * (1 + Z)) < 0.006
        bottom.text(
            rest * (1 + Z) - 0.005,
            1e6 * np.nanmax(result.flux[0, near]),
            name,
            ha="right",
            va="top",
            fontsize=8,
            color="0.3",
        )
    said = f"The archive's aperture holds {100 * beside.enclosed:.0f} % of the fitted profile, and negative nods."
    bottom.text(0.012, 0.6, said, transform=bottom.transAxes, fontsize=8, color="0.3")
    bottom.axhline(0, color="0.6", lw=0.6)
    bottom.set_xlabel("wavelength (µm)")
    bottom.set_ylabel("flux (µJy)")
    bottom.legend(loc="upper left", fontsize=8)
    figure.savefig(target, dpi=110, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OPTEXTRACT_DATA")
    if folder is None:
        raise SystemExit("name the folder of real observations, or set OPTEXTRACT_DATA")
    draw(Path(folder), Path(__file__).parent / "_static" / "smacs_6355.png")
