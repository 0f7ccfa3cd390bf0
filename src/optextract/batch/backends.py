"""Where jobs run. Each backend yields (job, records), or (job, Died) for a job that kills the process that does it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from optextract.errors import OptextractError, bad_value

from .jobs import Job
from .manifest import Record
from .worker import Settings, work, work_all

__all__ = ["Died", "in_turn", "isolate", "on_dask", "on_processes", "serial"]

_log = logging.getLogger(__name__)

Result = tuple[Job, "list[Record] | Died"]

#: A chunk is what a dask worker gets at once: large enough that the scheduler has little to do.
_MOST_IN_CHUNK = 50


class Died(RuntimeError):
    """The process that did a job was ended, by a signal or by the system."""


class _WorkerLost(Exception):
    """A worker ended before it had given its results."""


def serial(jobs: Sequence[Job], settings: Settings) -> Iterator[Result]:
    """One after another, in this process."""
    for job in jobs:
        yield job, work(job, settings)


def isolate(
    jobs: Sequence[Job], run: Callable[[Sequence[Job]], Iterator[Result]], *, attempts: int = 2
) -> Iterator[Result]:
    """Find the job that kills its worker by bisection, where several share a task; the others are done.

    Parameters
    ----------
    jobs : sequence of Job
        Jobs of which at least one may have killed a worker.
    run : callable
        Does jobs, and raises when the worker ends.
    attempts : int, optional
        How often a job may lose its worker alone before it is given up: a worker that was killed from outside is no
        fault of the job.

    Yields
    ------
    (Job, list of dict or Died)
        Every job once.
    """
    if len(jobs) == 1:
        reason: object = ""
        for _ in range(attempts):
            try:
                yield from run(jobs)
            except _WorkerLost as lost:
                reason = lost
            else:
                return
        yield jobs[0], _died(attempts, reason)
        return
    half = len(jobs) // 2
    for part in (jobs[:half], jobs[half:]):
        left = list(part)
        try:
            for result in run(part) if part else ():
                left.remove(result[0])
                yield result
        except _WorkerLost:
            yield from isolate(left, run, attempts=attempts)


def in_turn(
    jobs: Sequence[Job], run: Callable[[Sequence[Job]], Iterator[Result]], *, attempts: int = 2
) -> Iterator[Result]:
    """Do jobs on a worker that takes one at a time, so that the first without a result is the one that killed it.

    Parameters and results are those of `isolate`.
    """
    left = list(jobs)
    lost_by: dict[Job, int] = {}
    while left:
        try:
            for result in run(tuple(left)):
                left.remove(result[0])
                yield result
            return
        except _WorkerLost as lost:
            suspect = left[0]
            lost_by[suspect] = lost_by.get(suspect, 0) + 1
            if lost_by[suspect] >= attempts:
                left.remove(suspect)
                yield suspect, _died(attempts, lost)


def _died(attempts: int, reason: object) -> Died:
    return Died(f"the process that extracts it ended, {attempts} times out of {attempts}: {reason}")


def on_processes(jobs: Sequence[Job], settings: Settings, n_jobs: int) -> Iterator[Result]:
    """Several processes of this machine, by joblib; a pool that breaks is rebuilt and what it held is done again.

    Raises
    ------
    OptextractError
        If joblib is not installed.
    """
    queue = list(jobs)
    while queue:
        done: set[Job] = set()
        handed: list[Job] = []
        try:
            for result in _pool(queue, settings, n_jobs, handed):
                done.add(result[0])
                yield result
            return
        except _WorkerLost as lost:
            suspects = [job for job in handed if job not in done]
            _log.warning("a worker process ended (%s); %d files are done again", lost, len(suspects))
            for result in in_turn(suspects, lambda some: _pool(some, settings, 1, [])):
                done.add(result[0])
                yield result
            queue = [job for job in queue if job not in done]


def _pool(jobs: Sequence[Job], settings: Settings, n_jobs: int, handed: list[Job]) -> Iterator[Result]:
    """Run jobs in a pool of processes; `handed` is told which were handed out. One job at a time for one process."""
    try:
        from joblib import Parallel, delayed
        from joblib.externals.loky import get_reusable_executor
    except ImportError as error:
        raise OptextractError("several processes need joblib: pip install 'optextract[batch]'") from error

    here = os.getcwd()

    def stream() -> Iterator[Any]:
        for job in jobs:
            handed.append(job)
            yield delayed(_with_job)(job, settings, here)

    alone: dict[str, Any] = {"pre_dispatch": 1, "batch_size": 1} if n_jobs == 1 else {"pre_dispatch": "3*n_jobs"}
    # joblib would do the work of one process in this one
    parallel = Parallel(n_jobs=max(n_jobs, 2), backend="loky", return_as="generator_unordered", **alone)
    results = parallel(stream())
    try:
        yield from results
    except RuntimeError as error:
        # of loky: TerminatedWorkerError, BrokenProcessPool
        if type(error).__name__ not in ("TerminatedWorkerError", "BrokenProcessPool"):
            raise
        get_reusable_executor(max_workers=max(n_jobs, 2)).shutdown(wait=True, kill_workers=True)
        raise _WorkerLost(_reason(error)) from error
    finally:
        results.close()


def _reason(error: BaseException) -> str:
    """The signal where loky tells it, else the first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in lines:
        if "exit codes of the workers" in line:
            return line
    return lines[0] if lines else type(error).__name__


def _with_job(job: Job, settings: Settings, here: str) -> Result:
    # loky keeps its processes: theirs may be the folder in which an earlier batch was run
    if os.getcwd() != here:
        os.chdir(here)
    return job, work(job, settings)


def on_dask(jobs: Sequence[Job], settings: Settings, address: str, n_jobs: int) -> Iterator[Result]:
    """Workers of a dask cluster; names of files and recipes cross, pixels do not.

    Parameters
    ----------
    jobs, settings
        As for the others.
    address : str
        ``tcp://host:port`` of a scheduler, or ``local``: a cluster of `n_jobs` processes on this machine.
    n_jobs : int
        Processes of a local cluster.

    Raises
    ------
    OptextractError
        If dask is not installed or the scheduler cannot be reached.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise OptextractError("--dask needs dask.distributed: pip install 'optextract[batch]'") from error
    if address != "local" and "://" not in address:
        raise bad_value("dask", "run_batch", "tcp://host:port of a scheduler, or 'local'", address)
    if address == "local":
        cluster = LocalCluster(n_workers=n_jobs, threads_per_worker=1, processes=True, dashboard_address=":0")
        with cluster, Client(cluster) as client:
            yield from _with_client(client, jobs, settings)
        return
    try:
        client = Client(address, timeout="10s")
    except (OSError, TimeoutError, ValueError) as error:
        raise OptextractError(f"the dask scheduler {address} cannot be reached: {error}") from error
    with client:
        yield from _with_client(client, jobs, settings)


def _chunks(jobs: Sequence[Job], workers: int) -> list[tuple[Job, ...]]:
    """Chunks such that every worker gets several, and none is long."""
    size = max(1, min(_MOST_IN_CHUNK, len(jobs) // (8 * max(workers, 1))))
    return [tuple(jobs[start : start + size]) for start in range(0, len(jobs), size)]


def _with_client(client: Any, jobs: Sequence[Job], settings: Settings) -> Iterator[Result]:
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    # a worker's folder is its own: names cross whole
    given = {replace(job, path=job.key): job for job in jobs}
    jobs, settings = list(given), _whole(settings)
    client.wait_for_workers(1, timeout=60)
    workers = len(client.scheduler_info(n_workers=-1)["workers"])
    waiting = iter(_chunks(jobs, workers))
    # the scheduler knows of a few chunks a worker at a time, so its memory does not grow with the batch
    chunk_of: dict[Any, tuple[Job, ...]] = {}

    def submit(chunk: tuple[Job, ...]) -> Any:
        future = client.submit(work_all, chunk, settings, pure=False)
        chunk_of[future.key] = chunk
        return future

    running = as_completed([submit(chunk) for _, chunk in zip(range(3 * workers), waiting, strict=False)])
    for future in running:
        chunk = chunk_of.pop(future.key)
        # whatever a worker could raise became a record there; what arrives here is the worker's own end
        problem = future.exception()
        if problem is None:
            yield from ((given[job], records) for job, records in future.result())
        elif isinstance(problem, KilledWorker):
            _log.warning("a dask worker ended; %d files are done again", len(chunk))
            again = isolate(chunk, lambda some: _on_client(client, some, settings), attempts=1)
            yield from ((given[job], records) for job, records in again)
        else:
            raise OptextractError(f"a dask worker failed: {type(problem).__name__}: {problem}") from problem
        future.release()
        following = next(waiting, None)
        if following is not None:
            running.add(submit(following))


def _whole(settings: Settings) -> Settings:
    """The same settings with absolute names."""
    compare = settings.compare
    if compare is not None and compare != "auto":
        compare = os.path.abspath(compare)
    return replace(settings, out=Path(os.path.abspath(settings.out)), compare=compare)


def _on_client(client: Any, jobs: Sequence[Job], settings: Settings) -> Iterator[Result]:
    """Jobs on a cluster, one task."""
    from distributed.scheduler import KilledWorker

    future = client.submit(work_all, tuple(jobs), settings, pure=False)
    try:
        yield from future.result()
    except KilledWorker as error:
        raise _WorkerLost("dask gave it up after several workers") from error
