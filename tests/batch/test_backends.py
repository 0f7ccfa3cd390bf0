"""A job that kills its worker is found by bisection and named; the others are done."""

from __future__ import annotations

import pytest

from optextract.batch.backends import Died, _WorkerLost, in_turn, isolate
from optextract.batch.jobs import Job


def runner(killers, *, once=(), calls=None):
    """Does jobs in order until one kills; those in `once` kill the first time only."""
    spent = set()

    def run(jobs):
        if calls is not None:
            calls.append(len(jobs))
        for job in jobs:
            if job.path in killers or (job.path in once and job.path not in spent):
                spent.add(job.path)
                raise _WorkerLost("signal 9")
            yield job, [job.path]

    return run


def jobs(n):
    return [Job(path=f"f{k}", stem=f"f{k}") for k in range(n)]


@pytest.mark.parametrize("find", [isolate, in_turn])
@pytest.mark.parametrize("n", [1, 2, 7, 64])
@pytest.mark.parametrize("bad", [{"f0"}, {"f3"}, {"f0", "f5"}, set()])
def test_only_killers_are_given_up(find, n, bad):
    results = list(find(jobs(n), runner(bad)))
    assert sorted(job.path for job, _ in results) == sorted(f"f{k}" for k in range(n))
    died = {job.path for job, outcome in results if isinstance(outcome, Died)}
    assert died == bad & {f"f{k}" for k in range(n)}
    for _, outcome in results:
        if isinstance(outcome, Died):
            assert "ended, 2 times out of 2: signal 9" in str(outcome)


@pytest.mark.parametrize("find", [isolate, in_turn])
def test_a_worker_that_was_killed_from_outside_costs_no_file(find):
    results = list(find(jobs(9), runner(set(), once={"f4"})))
    assert not [outcome for _, outcome in results if isinstance(outcome, Died)]


def test_bisection_needs_few_runs():
    calls = []
    list(isolate(jobs(64), runner({"f37"}, calls=calls)))
    assert len(calls) < 20
