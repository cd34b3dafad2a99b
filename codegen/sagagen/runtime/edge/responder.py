"""What HTTP makes of a saga's result. Pure: the same result gives the same bytes, at first and at every replay."""

import json
from collections.abc import Mapping

from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.json.protojson import AnswerNotWritten, JsonWriter
from sagagen.runtime.edge.problem import CANCELLED_STATUS, COMPENSATED, HTTP_STATUS, Problem, ProblemError
from sagagen.runtime.edge.transcoding.request import RouteError
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Mesh, Saga, final_status
from sagagen.runtime.rpc.errors import Code
from sagagen.runtime.saga.result import Hidden, SagaResult, StoredAnswer, Succeeded, Superseded, Unsuccessful
from sagagen.runtime.scope import Failure

JSON = (("content-type", "application/json"),)
ELSEWHERE = "SAGA_ELSEWHERE"
OWNER_RUN = "saga-owner-run"
"""Header of SAGA_ELSEWHERE: the digest of the run that owns the saga, by which `shared_answers` finds its answer."""
KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"


class HttpResponder:
    """Makes answers of the results of a mesh's sagas."""

    def __init__(self, mesh: Mesh, schema: Schema) -> None:
        """Raises RouteError where the bindings of one trigger answer with different fields."""
        fields = _response_fields(mesh)
        self._writers = {
            (saga.trigger.path, saga.trigger.response_name): JsonWriter(
                schema.message_type(saga.trigger.response_name), fields.get(saga.trigger.path, "")
            )
            for saga in mesh.sagas
        }

    def answer(self, trigger: str, result: SagaResult, saga_id: str, trace_id: str) -> Answer:
        """The answer to the request that started a saga; `trigger` is the path of its rpc.

        Raises ProblemError where there is a success, but no body: 409 KEY_EXPIRED if the contract has given the trigger
        another response since then, 500 ANSWER_NOT_WRITTEN if JSON can't express what the message holds.
        """
        match result:
            case Succeeded():
                try:
                    body = self._body(trigger, result)
                except ProblemError as error:
                    raise ProblemError(error.problem.of_saga(saga_id, trace_id)) from error
                return Answer(final_status(result.status), (*JSON, _monitor(saga_id)), body)
            case Unsuccessful(failure):
                return _unsuccessful(result).of_saga(saga_id, trace_id, failure.step).answer()
            case Superseded(owner_run, is_other_payload):
                problem = key_reused() if is_other_payload else _elsewhere(owner_run)
                return problem.of_saga(saga_id, trace_id).answer()
            case StoredAnswer(status, headers, body):
                return Answer(status, headers, body)
            case Hidden():
                return erased().of_saga(saga_id, trace_id).answer()

    def at_once(self, saga: Saga, message: bytes, saga_id: str) -> Answer:
        """202 with the contract's body, for a saga that is answered at acceptance and goes on."""
        trigger = saga.trigger
        succeeded = Succeeded(202, trigger.response_name, message)
        return Answer(202, (*JSON, location(saga_id)), self._body(trigger.path, succeeded))

    def _body(self, trigger: str, result: Succeeded) -> bytes:
        writer = self._writers.get((trigger, result.message_type))
        if writer is None:
            raise ProblemError(key_expired())
        try:
            return writer.write(result.message)
        except AnswerNotWritten as error:
            raise ProblemError(not_written("the saga has its answer", error)) from error


def accepted(saga: str, version: int, saga_id: str, trace_id: str) -> Answer:
    """202: the saga exists and goes on; where to see how it ends. `saga` is its name."""
    members = {"id": saga_id, "saga": saga, "version": version, "trace_id": trace_id}
    return Answer(202, (*JSON, location(saga_id)), json.dumps(members).encode())


def _monitor(saga_id: str) -> tuple[str, str]:
    """RFC 8288, relation `monitor`: Location would name what the request made, which only the contract knows."""
    return "link", f'</sagas/{saga_id}>; rel="monitor"'


def location(saga_id: str) -> tuple[str, str]:
    """Where the saga can be watched."""
    return "location", f"/sagas/{saga_id}"


def key_reused() -> Problem:
    """draft-ietf-httpapi-idempotency-key-header-07, section 2.7: 422 for a key that comes with another payload."""
    return Problem(
        422,
        "INVALID_ARGUMENT",
        KEY_REUSED,
        "this idempotency key was used before, with another request; use a new one",
    )


def key_expired() -> Problem:
    """409 for a key whose saga is still known, and whose answer is not."""
    return Problem(
        409,
        "ABORTED",
        "KEY_EXPIRED",
        "this idempotency key was used so long ago that its answer is kept no longer; use a new one",
    )


def erased() -> Problem:
    """410 for a saga that was answered, and whose answer was erased with its subject's data."""
    return Problem(
        410,
        "FAILED_PRECONDITION",
        "DATA_ERASED",
        "this request was carried out once, and has no effect again; its answer was erased with its subject's data",
    )


def not_written(what: str, error: AnswerNotWritten) -> Problem:
    """500 for an answer that is there and can't leave; `what` says whose it is."""
    detail = f"{what}, but JSON can't express it: {error}"
    return Problem(500, "INTERNAL", "ANSWER_NOT_WRITTEN", detail)


def _elsewhere(owner_run: str) -> Problem:
    detail = (
        "another gateway took the request with this idempotency key; this one had no effect: ask that one"
    )
    headers = ((OWNER_RUN, owner_run),) if owner_run else ()
    return Problem(409, "ABORTED", ELSEWHERE, detail, headers=headers)


def _unsuccessful(result: Unsuccessful) -> Problem:
    if result.is_cancelled:
        return _cancelled(result.failure)
    return _refused(result.failure) if result.is_refused else _compensated(result.failure)


def _cancelled(failure: Failure) -> Problem:
    detail = (
        "a client cancelled the saga, so everything is undone; this answer is final: to try again, use a new "
        "idempotency key"
    )
    return Problem(CANCELLED_STATUS, failure.code, failure.reason, detail)


def _refused(failure: Failure) -> Problem:
    status = HTTP_STATUS.get(Code[failure.code], 409) if failure.code in Code.__members__ else 409
    return Problem(
        status if 400 <= status < 500 else 409,
        failure.code,
        failure.reason,
        failure.message or f"the step {failure.step} was refused",
    )


def _compensated(failure: Failure) -> Problem:
    cause = f"{failure.reason}: {failure.message}" if failure.message else failure.reason
    detail = (
        f"the step {failure.step} failed ({cause}), so everything before it is undone; this answer is final: "
        "to try again, use a new idempotency key"
    )
    return Problem(502, failure.code, COMPENSATED, detail)


def _response_fields(mesh: Mesh) -> Mapping[str, str]:
    """What the routes of each trigger take from its response. A saga has one answer, so all must take the same."""
    fields: dict[str, str] = {}
    for route in mesh.routes:
        if (
            route.starts_saga
            and fields.setdefault(route.method.path, route.response_body) != route.response_body
        ):
            raise RouteError(
                f"{route.template}: every route of {route.method.path} needs the same response_body"
            )
    return fields
