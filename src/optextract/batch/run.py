"""Files times recipe: in this process, in several, or on a dask cluster; one failure never stops the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from optextract.errors import OptextractError, bad_value
from optextract.recipe import Recipe

from .backends import Died, on_dask, on_processes, serial
from .jobs import OVERRIDES, Job, Override, expand
from .manifest import JOURNAL, MANIFEST, Manifest, Record, read_manifest
from .names import SUFFIX
from .worker import CARDS, DISK_FULL, Settings, checksum, failure

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Batch", "plan", "run_batch"]


@dataclass(frozen=True)
class Batch:
    """A batch that is ready to run.

    Attributes
    ----------
    jobs : tuple of Job
        What is to be done.
    unchanged : tuple of str
        Files that an earlier run has done and that need nothing.
    settings : Settings
        What holds for every job.
    """

    jobs: tuple[Job, ...]
    unchanged: tuple[str, ...]
    settings: Settings

    def run(self, *, n_jobs: int = 1, dask: str | None = None) -> Iterator[list[Record]]:
        """Do the jobs; yields the records of one file after another, in the order in which they end.

        Every record is in the manifest before it is yielded, so that stopping at any moment loses nothing.

        Parameters
        ----------
        n_jobs : int, optional
            Processes; 1: this one; 0: one a core.
        dask : str, optional
            Address of a dask scheduler, or ``local`` for a cluster of `n_jobs` processes on this machine.

        Yields
        ------
        list of dict
            One record a spectrum, or one for a file that failed as a whole.

        Raises
        ------
        OptextractError
            If the disk of the output folder is full, or the scheduler cannot be reached.
        """
        if n_jobs < 0:
            raise bad_value("n_jobs", "run_batch", "0 (one process a core) or more", n_jobs)
        workers = n_jobs if n_jobs else _cores()
        with Manifest(self.settings.out) as manifest:
            for job, outcome in _results(self.jobs, self.settings, workers, dask):
                records = [failure(job, None, outcome)] if isinstance(outcome, Died) else outcome
                for record in records:
                    if record.get("errno") == DISK_FULL:
                        raise OptextractError(
                            f"no space left on the disk of {self.settings.out} ({record['reason']}); what is done is "
                            "kept: free space and run again with --resume"
                        )
                try:
                    _keep(manifest, job, records)
                except OSError as error:
                    raise OptextractError(
                        f"the manifest in {self.settings.out} cannot be written: {error}; what is done is kept"
                    ) from error
                yield records
            # of processes that were killed
            _sweep(self.settings.out)


def _sweep(out: Path) -> None:
    """Remove parts of files that a process which was killed left behind."""
    for folder in (out, out / CARDS):
        for part in folder.glob(".part-*"):
            part.unlink(missing_ok=True)


def _keep(manifest: Manifest, job: Job, records: list[Record]) -> None:
    """Put a file's records into the manifest; what was refused leaves what is known as it is."""
    fresh = [record for record in records if record["status"] != "refused"]
    if not fresh:
        return
    redone = {record["slit"] for record in fresh}
    before = {record["slit"]: record for record in manifest.records(job.key)}
    for record in fresh:
        old = before.get(record["slit"], {})
        # that a person adjusted the recipe stays true of what came of it
        if old.get("decision") == "adjusted" and record["status"] == "done":
            record["decision"], record["note"] = "adjusted", old.get("note", "")
    partial = job.slits is not None or len(fresh) < len(records)
    kept = [record for record in manifest.records(job.key) if record["slit"] not in redone] if partial else []
    # a failure of the whole file says nothing new of its slits, but they are not to be trusted either
    manifest.put(job.key, [record for record in kept if record["slit"] is not None or None in redone] + fresh)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _results(
    jobs: Sequence[Job], settings: Settings, workers: int, dask: str | None
) -> Iterator[tuple[Job, list[Record] | Died]]:
    if dask is not None:
        return on_dask(jobs, settings, dask, workers)
    if workers > 1:
        return on_processes(jobs, settings, workers)
    return serial(jobs, settings)


def plan(
    inputs: Sequence[str | Path],
    recipe: Recipe | None = None,
    out: str | Path = "optextract",
    *,
    slits: Sequence[str] | None = None,
    overrides: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    figures: bool | Literal["auto", "all", "none"] = False,
    compare: str | Path | None = None,
    trust: bool = False,
    few: int = 10,
) -> Batch:
    """Find out what there is to do; see `run_batch` for the parameters.

    With ``figures="auto"`` each spectrum gets a figure where there are at most `few` files.

    Returns
    -------
    Batch
        Jobs, and what needs none.

    Raises
    ------
    OptextractError
        If the inputs make no sense or the output folder cannot be used.
    """
    if overwrite and resume:
        raise bad_value("resume", "run_batch", "False where overwrite is True", resume)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise bad_value("out", "run_batch", "a folder", str(out))
    if not inputs and not resume:
        raise bad_value("inputs", "run_batch", "files, unless resume is True and says which they were", list(inputs))
    # a review's own table has the last word
    tables = [table for table in (overrides, out / OVERRIDES) if table is not None and Path(table).is_file()]
    if overrides is not None and not Path(overrides).is_file():
        raise bad_value("overrides", "run_batch", "an existing table", str(overrides))
    stems = _stems(out) if resume else {}
    jobs = expand(inputs, slits=slits, overrides=tables, earlier=() if inputs else _earlier(out), stems=stems)
    settings = Settings(
        out=out,
        recipe=Recipe() if recipe is None else recipe,
        overwrite=overwrite or resume,
        figures=len(jobs) <= few if figures == "auto" else figures in (True, "all"),
        compare=None if compare is None else str(compare),
        trust=trust,
        inputs=_inputs_in(out, jobs),
    )
    try:
        with Manifest(out) as manifest:
            unchanged = _unchanged(jobs, settings, manifest) if resume else []
            _sweep(out)
    except OSError as error:
        raise OptextractError(f"the output folder {out} cannot be used: {error}") from error
    done = set(unchanged)
    todo = [job for job in jobs if job.path not in done]
    if not settings.overwrite:
        todo = _with_existing(todo, out)
    return Batch(jobs=tuple(todo), unchanged=tuple(unchanged), settings=settings)


def _earlier(out: Path) -> list[tuple[str, Override]]:
    """Every file of an earlier run, with the recipe of each of its spectra."""
    found = []
    for record in read_manifest(out):
        text = record.get("recipe_text")
        found.append((record["file"], Override(slit=record["slit"], text=text)))
    return found


def _stems(out: Path) -> dict[str, str]:
    """Names that an earlier run gave to files."""
    if not (out / MANIFEST).is_file() and not (out / JOURNAL).is_file():
        return {}
    return {record["file"]: record["stem"] for record in read_manifest(out)}


def _inputs_in(out: Path, jobs: Sequence[Job]) -> frozenset[str]:
    """Inputs that lie in the output folder, where a product could hit them."""
    folder = out.resolve()
    paths = (Path(job.path).resolve() for job in jobs)
    return frozenset(str(path) for path in paths if path.parent == folder)


def _with_existing(jobs: list[Job], out: Path) -> list[Job]:
    """Tell each job which products it finds; those that appear later are its own."""
    import bisect

    names = sorted(entry.name for entry in os.scandir(out) if SUFFIX in entry.name)
    found = []
    for job in jobs:
        first = bisect.bisect_left(names, job.stem)
        last = bisect.bisect_right(names, job.stem + "\U0010ffff")
        found.append(replace(job, existing=tuple(names[first:last])) if last > first else job)
    return found


def _unchanged(jobs: Sequence[Job], settings: Settings, manifest: Manifest) -> list[str]:
    """Files whose records are all good, made by this version from this content with this recipe, and still there."""
    from optextract import __version__

    found = []
    for job in jobs:
        records = list(manifest.records(job.key))
        if job.slits is not None:
            records = [record for record in records if record["slit"] in job.slits]
            if {record["slit"] for record in records} != set(job.slits):
                continue
        elif records and len(records) != records[0].get("n_slits"):
            continue
        if not records or any(not _is_current(record, job, settings, __version__) for record in records):
            continue
        if _same_content(job.path, records[0]):
            found.append(job.path)
    return found


def _is_current(record: Record, job: Job, settings: Settings, version: str) -> bool:
    if record["status"] == "rejected":
        # a person decided that there is no spectrum here: nothing to do until that changes
        return True
    if record["status"] != "done" or record["version"] != version:
        return False
    try:
        digest = job.recipe_for(record["names"], settings.recipe).digest()
    except OptextractError:
        return False
    return digest == record["recipe"] and all((settings.out / name).is_file() for name in record["products"])


def _same_content(path: str, record: Record) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    if found.st_size != record["input_size"]:
        return False
    return found.st_mtime_ns == record["input_mtime_ns"] or checksum(path) == record["input_sha256"]


def run_batch(
    inputs: Sequence[str | Path] | str | Path,
    recipe: Recipe | None = None,
    out: str | Path = "optextract",
    *,
    slits: Sequence[str] | None = None,
    overrides: str | Path | None = None,
    n_jobs: int = 1,
    dask: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    figures: bool = False,
    compare: str | Path | None = None,
    trust: bool = False,
    progress: bool | Callable[[list[Record]], Any] = False,
) -> Table:
    """Extract many spectra.

    Parameters
    ----------
    inputs : str, Path or sequence of them
        Files, folders, patterns, ``@list`` or catalogues; see `optextract.batch.jobs.expand`. None at all, with
        `resume`: those of the earlier run, each with its recipe.
    recipe : Recipe, optional
        For all of them; absent: every setting automatic.
    out : str or Path, optional
        Output folder: products, ``manifest.jsonl``, and under ``cards`` what the report shows.
    slits : sequence of str, optional
        Only these slits.
    overrides : str or Path, optional
        Table of changes of the recipe; see `optextract.batch.jobs.read_table`.
    n_jobs : int, optional
        Processes; 1: this one; 0: one a core.
    dask : str, optional
        ``tcp://host:port`` of a scheduler, or ``local``. Workers must see the same files.
    overwrite : bool, optional
        Replace products; otherwise a spectrum whose product exists is refused.
    resume : bool, optional
        Do only what is missing, has changed (content, recipe, version of optextract) or failed.
    figures : bool, optional
        Write a PNG beside each product.
    compare : str or Path, optional
        An x1d file to compare with.
    trust : bool, optional
        Let recipes name Python code (``module:attr``), which is then run.
    progress : bool or callable, optional
        True: a progress bar; a callable is given the records of each file.

    Returns
    -------
    Table
        One row a spectrum of this call, what was unchanged included; failed ones have their reason.

    Raises
    ------
    OptextractError
        If nothing can be done at all, or the disk is full.
    """
    from .table import records_table

    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    batch = plan(
        given,
        recipe,
        out,
        slits=slits,
        overrides=overrides,
        overwrite=overwrite,
        resume=resume,
        figures=figures,
        compare=compare,
        trust=trust,
    )
    found: list[Record] = []
    results = batch.run(n_jobs=n_jobs, dask=dask)
    if progress is True:
        from .progress import watched

        results = watched(results, len(batch.jobs))
    for records in results:
        if callable(progress):
            progress(records)
        found.extend(records)
    if batch.unchanged:
        with Manifest(batch.settings.out) as manifest:
            for path in batch.unchanged:
                found.extend(manifest.records(os.path.abspath(path)))
    return records_table(found)
