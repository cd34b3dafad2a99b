"""What changed in the protos, as `buf breaking` sees it, in buf's own words and under its own rules' names."""

import tempfile
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

from google.protobuf.descriptor import MethodDescriptor

from sagagen.compatibility.change import Change, ChangeSeverity, Rule
from sagagen.contract import Sources, buf
from sagagen.contract.model import Mesh

IDEMPOTENCY = "RPC_SAME_IDEMPOTENCY_LEVEL"
_REASON = "generated code, the wire format or JSON no longer fits what was built from the old protos"
_RECIPE = "add something new instead; see buf.build/docs/breaking/rules for this rule"


def compare_protos(root: Path, old_sources: Sources, old: Mesh, new: Mesh) -> Iterator[Change]:
    """Runs buf on the contracts at `root`. Raises BufMissing, or BufFailed where buf can't compare."""
    with (
        tempfile.TemporaryDirectory(prefix="sagagen-against-") as folder,
        buf.open_workspace(root) as workspace,
    ):
        image = Path(folder) / "old.binpb"
        image.write_bytes(old_sources.image)
        findings = buf.breaking(workspace, image)
    levels = _changed_levels(old, new)
    same_reads = _reads(old) & _reads(new)
    for finding in findings:
        rule = Rule(finding.rule, ChangeSeverity.BREAKING, "proto changed", _REASON, _RECIPE)
        change = Change.of(rule, finding.at, finding.at.path, finding.message)
        yield _graded(change, levels, same_reads)


def _graded(change: Change, levels: Mapping[str, str], same_reads: Set[str]) -> Change:
    """Marking an rpc idempotent is an improvement. Reads have a rule of ours, and saga.yaml may mark them too."""
    if change.rule.code != IDEMPOTENCY:
        return change
    name = next((name for name in levels if f'"{name.rpartition(".")[2]}"' in change.message), "")
    if levels.get(name) == "IDEMPOTENT":
        return change.with_severity(
            ChangeSeverity.SAFE, "the rpc now promises to be repeatable: nothing relies on the opposite"
        )
    if name in same_reads:
        return change.with_severity(
            ChangeSeverity.SAFE, "the rpc is a read as before: `read: true` in saga.yaml says the same"
        )
    return change


def _reads(mesh: Mesh) -> frozenset[str]:
    methods = (method for service in mesh.services for method in service.methods)
    return frozenset(method.descriptor.full_name for method in methods if method.is_read)


def _changed_levels(old: Mesh, new: Mesh) -> dict[str, str]:
    """Full name of each rpc whose idempotency_level changed -> the new level."""
    before = {rpc.full_name: _level(rpc) for rpc in _rpcs(old)}
    return {
        rpc.full_name: _level(rpc)
        for rpc in _rpcs(new)
        if before.get(rpc.full_name, _level(rpc)) != _level(rpc)
    }


def _level(rpc: MethodDescriptor) -> str:
    options = rpc.GetOptions()
    return options.IdempotencyLevel.Name(options.idempotency_level)


def _rpcs(mesh: Mesh) -> Iterator[MethodDescriptor]:
    for file in mesh.files:
        for service in file.services_by_name.values():
            yield from service.methods
