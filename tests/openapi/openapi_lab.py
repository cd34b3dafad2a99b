"""OpenAPI documents of real contracts, and of one message written for the occasion."""

import shutil
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from sagagen.contract import read_contract
from sagagen.contract.model import Mesh
from sagagen.emit.openapi import openapi

REPOSITORY = Path(__file__).parents[2]
ROOTS = {
    "shop": REPOSITORY,
    "library": REPOSITORY / "tests" / "edge" / "library",
    "nested": REPOSITORY / "tests" / "projects" / "nested",
    "tiny": REPOSITORY / "tests" / "projects" / "tiny",
}


@cache
def mesh_of(name: str) -> Mesh:
    mesh, findings = read_contract(ROOTS[name])
    assert mesh, findings
    return mesh


def document_of(name: str) -> dict[str, Any]:
    return openapi(mesh_of(name))


def validator(document: dict[str, Any], schema: str) -> Draft202012Validator:
    """Holds values against one component of a document."""
    nothing: Registry[Any] = Registry()
    registry = nothing.with_resource("urn:document", DRAFT202012.create_resource(document))
    return Draft202012Validator({"$ref": f"urn:document#/components/schemas/{schema}"}, registry=registry)


def project_with(folder: Path, fields: str) -> Path:
    """The tiny project, whose request has these fields besides its own."""
    root = Path(shutil.copytree(ROOTS["tiny"], folder / "project"))
    proto = next(root.glob("contracts/**/*.proto"))
    text = proto.read_text()
    text = text.replace("message CountUpRequest {", f"message CountUpRequest {{\n{fields}\n", 1)
    if "buf/validate" not in text:
        text = text.replace("import ", 'import "buf/validate/validate.proto";\nimport ', 1)
    proto.write_text(text)
    return root
