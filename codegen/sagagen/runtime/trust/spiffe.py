"""SPIFFE names: which process a certificate speaks for.

A certificate of the mesh is an X.509-SVID (https://spiffe.io, "The X.509 SPIFFE Verifiable Identity Document"): exactly
one URI stands in its subject alternative name, `spiffe://TRUST_DOMAIN/NAME`. NAME is that of a service, or `gateway`.
Host names in a certificate are for other programs; here they prove nothing.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from sagagen.runtime.model.definition import Mesh

Certificate = Mapping[str, Any]
"""As `ssl.SSLSocket.getpeercert` tells it."""
MAX_SHOWN = 200
"""Characters of a name that is told to others."""


class NoIdentity(Exception):
    """The certificate names no process of a mesh; the text says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a connection."""

    uri: str
    expires_s: float
    """End of its certificate's life, in seconds since the epoch."""

    @property
    def shown(self) -> str:
        return self.uri[:MAX_SHOWN]


def trust_domain(mesh: Mesh) -> str:
    """The contract's `mesh.trust_domain`; else the project's name, in the characters that a domain may have."""
    written = mesh.security.trust_domain if mesh.security else ""
    return written or re.sub("[^a-z0-9._-]", "-", mesh.project.lower())


def spiffe_id(domain: str, name: str) -> str:
    return f"spiffe://{domain}/{name}"


def peer_of(certificate: Certificate | None) -> Peer:
    """The process that a verified certificate speaks for. Raises NoIdentity."""
    if not certificate:
        raise NoIdentity("no certificate was shown")
    names = cast("tuple[tuple[str, str], ...]", certificate.get("subjectAltName", ()))
    uris = [value for kind, value in names if kind == "URI"]
    if len(uris) != 1:
        raise NoIdentity(f"the certificate has {len(uris) or 'no'} URIs where one SPIFFE id has to stand")
    if not uris[0].startswith("spiffe://"):
        raise NoIdentity(f"the certificate's URI is no SPIFFE id: {uris[0][:MAX_SHOWN]}")
    return Peer(uris[0], ssl.cert_time_to_seconds(certificate["notAfter"]))
