"""How large a request's body may be, for each rpc: `limits.body` of saga.yaml."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.descriptor import MethodDescriptor

from sagagen.contract.codes import Code
from sagagen.contract.findings import error, suggest, warning
from sagagen.contract.located import Key, Located, text_scalar
from sagagen.contract.protos import rpc_name
from sagagen.contract.routes import Binding
from sagagen.contract.shape import LimitsShape
from sagagen.diagnostics import Report
from sagagen.runtime.messages.validation_rules import unbounded_fields
from sagagen.runtime.model.definition import MAX_BODY_BYTES

_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """In bytes, by rpc."""

    written: Mapping[Key, Located[int]]

    @classmethod
    def of(cls, shape: LimitsShape | None, default: Located[int] | None) -> "BodyLimits":
        """`default`: `security.limits.body`, which is another place for `limits.body.default`."""
        written = (shape and shape.body) or {}
        if default is None or _DEFAULT in written:
            return cls(written)
        return cls({**written, Key(text_scalar(_DEFAULT, default.span)): default})

    def of_binding(self, binding: Binding) -> int:
        key = self._key(binding)
        return self.written[key].value if key else MAX_BODY_BYTES

    def _key(self, binding: Binding) -> Key | None:
        """What says how much this route takes."""
        by_name = {str(key): key for key in self.written}
        return by_name.get(rpc_name(binding.method)) or by_name.get(_DEFAULT)

    def _check_kept(self, binding: Binding, key: Key, report: Report) -> None:
        if fields := unbounded_fields(binding.method.input_type):
            shown = ", ".join(fields[:3]) + (f" and {len(fields) - 3} more" if len(fields) > 3 else "")
            message = (
                f"a request of {rpc_name(binding.method)} may have {self.written[key].value} bytes, each of which the "
                f"saga log keeps several times, and the contract sets no upper bound for {shown}"
            )
            hint = "give them max_len, max_items or max_pairs (buf.validate), or lower the limit"
            report(warning(key.span, Code.UNBOUNDED_TRIGGER, message, hint))

    def check(
        self, bindings: Iterable[Binding], triggers: Container[MethodDescriptor | None], report: Report
    ) -> None:
        """Every rpc that is named must have a route that reads a body; what a saga keeps of a large one is bounded."""
        for binding in bindings:
            key = self._key(binding)
            if binding.method in triggers and key and self.written[key].value > MAX_BODY_BYTES:
                self._check_kept(binding, key, report)
        spans = (
            {rpc_name(binding.method): binding.span for binding in bindings if binding.body}
            if self.written
            else {}
        )
        for key in self.written:
            if key not in spans and key != _DEFAULT:
                message = f'"{key}" has no route that reads a body, so the limit has no effect'
                hint = suggest(key, spans, "remove it, or give the rpc a route with a body")
                report(error(key.span, Code.BODY_LIMIT_OF_NOTHING, message, hint))
