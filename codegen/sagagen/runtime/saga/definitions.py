"""Which definition a saga of the log runs on: the version it started with, and no other (P8)."""

from collections.abc import Mapping, Sequence

from sagagen.runtime.model.definition import Saga, Wait, leaves
from sagagen.runtime.saga.events import Accepted


class Definitions:
    """All versions of all sagas that this code keeps."""

    def __init__(self, sagas: Sequence[Saga]) -> None:
        self._sagas = {(saga.name, saga.version): saga for saga in sagas}

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(name for name, _ in self._sagas))

    @property
    def index_names(self) -> list[str]:
        """Names of the values by which sagas can be found, of all versions that are kept."""
        return sorted({each.name for saga in self._sagas.values() for each in saga.index})

    @property
    def events(self) -> list[str]:
        """Names of the events that sagas take, of all versions that are kept."""
        return sorted({each.name for saga in self._sagas.values() for each in saga.events})

    def waits_for(self, event: str) -> list[str]:
        """Names of the elements that wait for an event of this name, in whichever saga."""
        waits = {
            element.name
            for saga in self._sagas.values()
            for element in leaves(saga.steps)
            if isinstance(element, Wait) and element.event == event
        }
        return sorted(waits)

    @property
    def retentions_s(self) -> Mapping[str, float]:
        """Time in seconds that each saga is kept after its end: the longest retention of its versions."""
        longest = dict[str, float]()
        for (name, _), saga in self._sagas.items():
            longest[name] = max(saga.retention_s, longest.get(name, 0.0))
        return longest

    def versions(self, name: str) -> list[int]:
        """Those of a saga that this code keeps."""
        return sorted(version for known, version in self._sagas if known == name)

    @property
    def newest(self) -> list[Saga]:
        """Of each saga the version that takes new ones."""
        return [self._sagas[name, max(self.versions(name))] for name in self.names]

    def get(self, name: str, version: int) -> Saga | None:
        return self._sagas.get((name, version))

    def keeps(self, name: str, version: int, digest: str) -> bool:
        """Whether sagas that started on this definition can go on."""
        saga = self._sagas.get((name, version))
        return saga is not None and saga.digest == digest

    def of(self, accepted: Accepted) -> Saga | None:
        """The definition that a saga started with; None if this code lacks it, or has another of that version."""
        saga = self._sagas.get((accepted.saga, accepted.version))
        return saga if saga and saga.digest == accepted.digest else None

    def missing(self, accepted: Accepted) -> str:
        """What must be deployed for the saga to go on; empty if nothing."""
        if self.of(accepted):
            return ""
        saga = self._sagas.get((accepted.saga, accepted.version))
        wanted = f"saga {accepted.saga} version {accepted.version}"
        if saga is None:
            return f"{wanted}: this code has no such version; deploy code that keeps it"
        return (
            f"{wanted} as it was when it started (digest {accepted.digest[:12]}): this code has another "
            f"definition of that version (digest {saga.digest[:12]}); restore it, and raise the version of the new one"
        )
