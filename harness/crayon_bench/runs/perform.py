"""Carrying out one run, from a request to its record."""

import traceback
from pathlib import Path

from crayon_bench.errors import StoreError, UserError
from crayon_bench.feedback import FeedbackKind, feedback_label
from crayon_bench.guard import method_running
from crayon_bench.ledger.metered import Receipt, close_ledger
from crayon_bench.method import Method
from crayon_bench.plugins.hooks import call_hooks
from crayon_bench.plugins.registry import Kind, Registry
from crayon_bench.runs.isolation import PeakMemory, Surroundings, isolated
from crayon_bench.runs.judging import judge
from crayon_bench.runs.leaks import warnings_of
from crayon_bench.runs.limits import LimitError, Limits, limited
from crayon_bench.runs.prepared import Prepared, prepare
from crayon_bench.runs.run import Run, UsersMistakeError
from crayon_bench.store.records import Feedback, Record, Status
from crayon_bench.store.request import RunRequest
from crayon_bench.store.store import Store


def perform(
    request: RunRequest,
    store: Store,
    registry: Registry,
    remark: str = "",
    limits: Limits | None = None,
    note: Path | None = None,
) -> Record:
    """Carry out one run by itself, write its record to the *store* and return it. *remark*: begins its log.

    limits, note: see :func:`~crayon_bench.runs.limits.limited`. Whatever a plugin raises becomes a record with the
    status "failed". KeyboardInterrupt becomes one with the status "interrupted" and goes on. Raises UserError if the
    store cannot be written, or if the data do not allow the run.
    """
    call_hooks("run_started", request=request)
    run = Run(request)
    run.log.write(remark)
    try:
        if request.skip is not None:
            run.end(Status.SKIPPED, request.skip)
        else:
            with (
                isolated(request, run.record.warnings) as surroundings,
                run.captured_output(),
                limited(limits or Limits(), note),
            ):
                _carry_out(run, surroundings, store, registry)
            run.end(Status.OK)
    except UsersMistakeError as mistake:
        raise mistake.error from None
    except StoreError:
        raise
    except KeyboardInterrupt:
        save_interrupted(run, store)
        raise
    except BaseException as error:  # a plugin may raise anything, SystemExit too: the sweep goes on
        if isinstance(error, UserError | LimitError):
            reason = str(error)
        else:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
        run.log.write("\n" + "".join(traceback.format_exception(error)))
        run.predictions = run.model = None
        run.end(Status.FAILED, reason)
    store.save(run.record, run.predictions, run.log.getvalue(), run.model)
    call_hooks("run_finished", request=request, record=run.record)
    return run.record


def save_interrupted(run: Run, store: Store) -> None:
    """Write the record of a run that the user interrupted."""
    run.end(Status.INTERRUPTED, "interrupted by the user")
    earlier = store.find(run.request.coordinates, run.request.key)
    if earlier is None or earlier.status is not Status.OK:  # what was done is never replaced by what was not
        store.save(run.record, None, run.log.getvalue())


def _carry_out(run: Run, surroundings: Surroundings, store: Store, registry: Registry) -> None:
    request, record = run.request, run.record
    method: Method = registry.load(Kind.METHOD, request.method)()
    parameters = method.Parameters.model_validate(request.coordinates["method"]["parameters"])
    asks = method.questions(parameters)
    prepared = prepare(run, store, registry, parameters, asks, method.control)
    surroundings.begin()
    job = prepared.job
    memory = PeakMemory(job.device)
    try:
        with run.timed("refine"), method_running():
            refined = method.refine(job)
    finally:
        if (peak := memory.mebibytes()) is not None:
            record.memory["peak"] = peak
        receipt = close(run, method, prepared)
    record.warnings |= warnings_of(receipt.judged, prepared.data.train.labels, job.classes, prepared.data.evidence)
    judge(run, registry, prepared, refined)


def close(run: Run, method: Method, prepared: Prepared) -> Receipt:
    """End the method's questions, note what was answered and what went wrong, and return the receipt."""
    receipt = close_ledger(prepared.ledger)
    run.record.feedback = Feedback(
        total=receipt.total,
        by_kind={kind.value: number for kind, number in receipt.by_kind.items()},
        verdicts={kind.value: dict(tally) for kind, tally in receipt.verdicts.items()},
        label="-" if method.baseline else feedback_label(kind for kind in FeedbackKind if receipt.by_kind.get(kind)),
        lent={kind.value: number for kind, number in receipt.lent.items()},
        seconds={kind.value: round(seconds, 3) for kind, seconds in receipt.seconds.items()},
    )
    run.record.warnings |= prepared.job.warnings | receipt.warnings
    return receipt
