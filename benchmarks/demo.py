"""`make demo`: 79 simulated files, extracted by the batch; what came out, how long it took, and what was true.

Usage: python benchmarks/demo.py FOLDER
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import QTable
from joblib import Parallel, delayed
from notebook_batch import extract as notebook_extract
from notebook_batch import run as notebook_run

import optextract as ox
from optextract.batch import read_manifest
from optextract.cli import main
from optextract.io import read_x1d
from optextract.simulate import Member, make_scene, write_s2d, write_survey

N_FILES, N_JOBS = 79, 2


def compute(paths: list[Path], recipe: ox.Recipe) -> float:
    """Seconds for the extractions alone: frames are read before the clock starts, nothing is written."""
    frames = [ox.read(path) for path in paths]
    ox.extract(frames[0], recipe)
    started = time.perf_counter()
    for frame in frames:
        ox.extract(frame, recipe)
    return time.perf_counter() - started


def bare(paths: list[Path], products: list[Path], out: Path) -> float:
    """Seconds to read the same files and write the same products with stdatamodels, computing nothing."""
    from stdatamodels.jwst import datamodels

    started = time.perf_counter()
    for path, product in zip(paths, products, strict=True):
        with datamodels.open(str(path)) as model:
            rows, columns = np.mgrid[: model.data.shape[0], : model.data.shape[1]]
            model.meta.wcs(columns, rows)
            for name in ("data", "err", "wht", "con", "var_poisson", "var_rnoise", "var_flat"):
                np.asarray(getattr(model, name), dtype=float)
        with datamodels.open(str(product)) as spectra:
            spectra.save(str(out / product.name))
    return time.perf_counter() - started


def halves(items: list) -> list[list]:
    """Two lists of alternating items, one a process."""
    return [items[k::N_JOBS] for k in range(N_JOBS)]


def in_processes(function, *columns, **more) -> float:
    """The longer of the times of two processes that share the work."""
    parts = zip(*(halves(column) for column in columns), strict=True)
    return max(Parallel(n_jobs=N_JOBS)(delayed(function)(*part, **more) for part in parts))


def truth_of(folder: Path, member: Member) -> list[np.ndarray]:
    """True spectra in Jy, from the lowest row up."""
    table = QTable.read(folder / "truth" / f"{member.name}.ecsv")
    order = sorted(range(table.meta["n_source"]), key=lambda k: np.median(np.asarray(table[f"centre_{k}"])))
    return [table[f"flux_{k}"].to_value("Jy") for k in order]


def rows_of(product: Path, number: int) -> list[int]:
    """Numbers of the spectra of a product, from the lowest row up: which is first says nothing of which is which."""
    centres = [np.nanmedian(fits.getdata(product, ("OPTEXTRACT", k + 1))["CENTRE"]) for k in range(number)]
    return [int(k) for k in np.argsort(centres)]


def compare(folder: Path, out: Path, written: list[tuple[Path, Member]]) -> None:
    """Print bias and pull against the truth, by kind."""
    by_kind: dict[str, list[tuple[np.ndarray, np.ndarray, float]]] = {}
    for path, member in written:
        product = out / f"{path.stem}_optx1d.fits"
        if not product.is_file():
            continue
        truth = truth_of(folder, member)
        order = rows_of(product, max(len(truth), 1))
        for k, number in enumerate(order):
            spectrum = read_x1d(product, number) if len(truth) > 1 else read_x1d(product)
            flux, error = spectrum.flux.to_value("Jy"), spectrum.uncertainty.to_value("Jy")
            true = truth[k] if truth else np.zeros_like(flux)
            good = np.isfinite(flux)
            pull = (flux - true)[good] / error[good]
            bias = float(np.sum(flux[good]) / np.sum(true[good]) - 1) if truth else float("nan")
            by_kind.setdefault(member.kind, []).append((pull, error[good], bias))
    print("sources of a blend are matched by their rows")
    print(f"{'kind':<12}{'spectra':>8}{'flux bias %':>13}{'worst %':>9}{'mean pull':>11}{'pull rms':>10}")
    for kind, found in [*sorted(by_kind.items()), ("all", [one for many in by_kind.values() for one in many])]:
        biases = np.array([bias for _, _, bias in found])
        biases = biases[np.isfinite(biases)]
        pull = np.concatenate([pull for pull, _, _ in found])
        middle = f"{100 * np.median(biases):13.2f}{100 * np.abs(biases).max():9.2f}" if biases.size else f"{'':>22}"
        print(f"{kind:<12}{len(found):>8}{middle}{pull.mean():>11.3f}{pull.std():>10.3f}")


def notebook(written: list[tuple[Path, Member]], folder: Path) -> None:
    """Time the notebook's batch on the same files, and say what its flux is worth."""
    good = [(path, member) for path, member in written if member.kind not in ("corrupt", "nan", "empty", "vertical")]
    ratios = []
    for path, member in good[:10]:
        true = truth_of(folder, member)[0] / (1e6 * 5.03e-13)
        ratios.append(float(np.nanmedian(notebook_extract(path) / true)))
    with tempfile.TemporaryDirectory() as scratch:
        started = time.perf_counter()
        Parallel(n_jobs=N_JOBS)(delayed(notebook_run)(path, Path(scratch)) for path, _ in good)
        seconds = time.perf_counter() - started
    print(
        f"the notebook's batch, {len(good)} files it can read: {seconds:.1f} s; its flux is "
        f"{np.median(ratios):.0f} times the truth, without errors"
    )


def demo(folder: Path) -> int:
    """Run everything; return the exit code of the batch."""
    files, out = folder / "files", folder / "extracted"
    for stale in (files, out):
        shutil.rmtree(stale, ignore_errors=True)
    written = write_survey(files, N_FILES)
    print(f"{len(written)} files in {files}")
    # one process of the pool does nothing here but start up and import
    with tempfile.TemporaryDirectory() as scratch:
        warm = [write_s2d(make_scene("mid", k), Path(scratch) / f"w{k}_s2d.fits") for k in range(8)]
        ox.run_batch(warm, out=Path(scratch) / "out", n_jobs=N_JOBS)
    print()
    started = time.perf_counter()
    table = str(files / "overrides.csv")
    code = main(["run", str(files), "--overrides", table, "-o", str(out), "-j", str(N_JOBS), "--report", "-q"])
    whole = time.perf_counter() - started
    records = read_manifest(out)
    failed = [record for record in records if record["status"] == "failed"]
    print(f"{len(records)} files, {len(records) - len(failed)} extracted, {len(failed)} failed (exit code {code})")
    for record in failed:
        print(f"  {Path(record['file']).name}: {record['reason'].removeprefix(record['file']).lstrip(': ')}")
    looked = sorted((r for r in records if r["status"] == "done" and r["flags"]), key=lambda r: -r["score"])
    print(f"{len(looked)} worth a look, worst first")
    for record in looked:
        print(f"  {Path(record['file']).name}: {record['score']:.0f}, {'; '.join(record['flags'])}")
    print()
    compare(files, out, written)
    print()
    good = [path for path, _ in written if (out / f"{path.stem}_optx1d.fits").is_file()]
    products = [out / f"{path.stem}_optx1d.fits" for path in good]
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch)
        alone = in_processes(compute, good, recipe=ox.Recipe())
        started = time.perf_counter()
        ox.run_batch(good, out=target / "batch", overrides=table, n_jobs=N_JOBS)
        batch = time.perf_counter() - started
        (target / "bare").mkdir()
        nothing = in_processes(bare, good, products, out=target / "bare")
        started = time.perf_counter()
        ox.run_batch(good, out=target / "figures", overrides=table, n_jobs=N_JOBS, figures=True)
        figures = time.perf_counter() - started
    print(f"times on {N_JOBS} processes after start-up, {len(good)} files")
    print(f"  computing alone                         {alone:6.2f} s")
    print(f"  read, compute, write                    {batch:6.2f} s")
    print(f"  bare read and write, stdatamodels       {nothing:6.2f} s: {batch / nothing:.2f} times that")
    print(f"  read, compute, write, with PNG figures  {figures:6.2f} s")
    print(f"  the run above with its report           {whole:6.2f} s")
    notebook(written, files)
    print()
    print(f"The spectra are in {out.resolve()}, the report is {out.resolve() / 'report.html'}")
    return 0 if code == 1 and len(failed) == 2 else 1


if __name__ == "__main__":
    sys.exit(demo(Path(sys.argv[1])))
