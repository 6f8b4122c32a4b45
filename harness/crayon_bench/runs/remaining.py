"""What of a plan is left to carry out."""

from dataclasses import replace
from enum import StrEnum

from crayon_bench.runs.plan import Plan
from crayon_bench.store.records import Record, Status
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store


class Rerun(StrEnum):
    """Which runs that the store knows are carried out again."""

    MISSING = "missing"
    FAILED = "failed"
    ALL = "all"


def is_done(request: RunRequest, record: Record | None, rerun: Rerun) -> bool:
    """Return whether a run with this *record* in the store need not be carried out."""
    if record is None or rerun is Rerun.ALL or record.status is Status.INTERRUPTED:
        return False
    if request.skip is not None or record.status is Status.SKIPPED:
        return record.status is Status.SKIPPED and record.reason == request.skip
    return not (record.status is Status.FAILED and rerun is Rerun.FAILED)


def split_plan(plan: Plan, store: Store | None, rerun: Rerun) -> tuple[list[Record], list[RunRequest]]:
    """Return the records that are in the store already, and the requests that are left to carry out.

    A run whose model is to be kept, and was not, is left.
    """
    done: list[Record] = []
    left: list[RunRequest] = []
    for planned in plan.requests:
        request = planned
        if store is not None:  # before it is looked up: what comes later is another sweep's
            request = replace(request, seen=store.stamp(request.coordinates, request.key))
        record = store.find(request.coordinates, request.key) if store is not None else None
        if (
            store is None
            or record is None
            or not is_done(request, record, rerun)
            or (request.keep and record.status is Status.OK and not store.has_model(record))
        ):
            left.append(request)
        else:
            done.append(record)
    return done, left
