"""The result of a saga, from how it turned back or ended."""

from sagagen.runtime.engine.requests import Requests
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.rpc.refusals import BarrierRefusal
from sagagen.runtime.saga.events import Outcome, SagaStatus
from sagagen.runtime.saga.forward import is_cancelled_by_client
from sagagen.runtime.saga.history import History
from sagagen.runtime.saga.result import SagaResult, Superseded, Unsuccessful
from sagagen.runtime.scope import Failure

COMPLETION = "completion"


def result_of_failure(saga: Saga, history: History, failure: Failure, outcome: Outcome) -> SagaResult | None:
    """Of a saga that turns back; None if it was answered before, or is answered at its end."""
    if saga.respond.after == COMPLETION:
        return None
    return _failure(history, failure, outcome)


def result_at_end(history: History, status: SagaStatus, requests: Requests) -> SagaResult | None:
    """Of a saga that ends; None if it has had one before."""
    if history.result:
        return None
    if history.turned_back:
        return _failure(history, history.turned_back.failure, history.turned_back.outcome)
    return _superseded(history) if status is SagaStatus.SUPERSEDED else requests.success()


def _superseded(history: History) -> SagaResult:
    lasts = [progress.last for progress in history.progress.values()]
    met = [last for last in lasts if last and last.barrier_refusal is BarrierRefusal.OTHER_RUN]
    owner_run = next((each.owner_run for each in met if each.owner_run), "")
    return Superseded(owner_run, is_other_payload=any(each.is_other_payload for each in met))


def _failure(history: History, failure: Failure, outcome: Outcome) -> SagaResult | None:
    if history.result:
        return None
    return Unsuccessful(
        failure,
        is_refused=outcome is Outcome.REFUSED,
        is_cancelled=is_cancelled_by_client(history, failure),
    )
