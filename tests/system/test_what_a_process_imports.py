"""Importing is most of a start: a process has no modules that only others need."""

import subprocess
import sys

import pytest

GATEWAY_ONLY = [
    "sagagen.runtime.engine.embedded",
    "sagagen.runtime.edge.gateway",
    "sagagen.runtime.log.store",
]
SECURITY_ONLY = ["sagagen.runtime.access.schemes", "joserfc", "cryptography", "httpx"]
"""Of a contract that says who may call."""
TLS_ONLY = ["sagagen.runtime.trust.folder", "sagagen.runtime.transports.grpc.secured", "cryptography"]
"""Imported where certificates are."""
SERVICE_ONLY = ["sagagen.runtime.service.host", "sagagen.runtime.transports.grpc.server", "protovalidate"]


@pytest.mark.parametrize(
    ("imports", "spared"),
    [
        ("sagagen.runtime.process.service, generated.mesh, handlers.order", [*GATEWAY_ONLY, *TLS_ONLY]),
        (
            "sagagen.runtime.process.gateway, generated.mesh",
            ["sagagen.runtime.service.host", "grpclib.server", *SECURITY_ONLY, *TLS_ONLY],
        ),
        ("sagagen.cli.up, generated.mesh", [*GATEWAY_ONLY, *SERVICE_ONLY, "starlette", "uvicorn"]),
    ],
    ids=["a service", "the gateway", "the parent of a mesh"],
)
def test_a_process_imports_only_what_it_runs(imports: str, spared: list[str]) -> None:
    code = f"import sys, {imports}\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert sorted(set(spared) & set(loaded.split())) == []
