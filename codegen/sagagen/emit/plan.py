"""The files that a contract becomes, and how each is rendered. Every path is known before anything is rendered."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic_core import to_json

from sagagen.cache import digest_of
from sagagen.contract import saga_schema
from sagagen.contract.model import Mesh
from sagagen.emit.boards import SagaBoard, ServiceBoard
from sagagen.emit.deploy_view import compose_view, has_postgres, image_view
from sagagen.emit.docs_security import security_doc
from sagagen.emit.docs_view import index_doc, saga_doc, saga_path
from sagagen.emit.files import FilePlan, Ownership, PathTaken, nothing
from sagagen.emit.kubernetes_files import kubernetes_files
from sagagen.emit.mesh_view import mesh_view, message_pool_view, package_view, routes_view
from sagagen.emit.messages import MessageModules
from sagagen.emit.openapi import openapi
from sagagen.emit.parts import Parts
from sagagen.emit.paths import GENERATED
from sagagen.emit.project_view import app_view, sql_view
from sagagen.emit.rules_view import rules_view
from sagagen.emit.saga_view import saga_module, saga_view
from sagagen.emit.security_view import security_view
from sagagen.emit.service_names import ServiceNames, name_services
from sagagen.emit.service_view import handler_view, service_view
from sagagen.emit.templates import render_template

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_PACKAGES = {
    "pb": "The contract's messages and enums, by their proto packages.",
    "services": "The services of the mesh: what they implement, and clients that call them.",
    "sagas": "The sagas of the mesh, as the engine reads them.",
    "gateway": "The HTTP edge of the mesh.",
}

Services = Mapping[str, ServiceNames]


def plan(mesh: Mesh) -> tuple[FilePlan, ...]:
    """All files but the manifest, sorted by path. Raises PathTaken if two have the same name."""
    services = name_services(mesh)
    parts = Parts(mesh)
    files = sorted(
        (
            *_packages(),
            *_messages(mesh, parts),
            *_services(mesh, services, parts),
            *_sagas(mesh, services, parts),
            *_mesh(mesh, services),
            *_deployment(mesh),
            *_docs(mesh, parts),
            *_yours(mesh, services),
        ),
        key=lambda file: file.path,
    )
    refuse_collisions(files)
    return tuple(files)


def _packages() -> Iterator[FilePlan]:
    yield _printed(
        f"{GENERATED}/__init__.py",
        "generated_init.py.j2",
        lambda: package_view(
            "The mesh that the contract describes. Written by `sagagen generate`, never by hand."
        ),
    )
    for name, doc in _PACKAGES.items():
        if name != "pb":
            yield _package(f"{GENERATED}/{name}", doc)


def _package(folder: str, doc: str) -> FilePlan:
    return _printed(f"{folder}/__init__.py", "package_init.py.j2", lambda: package_view(doc))


def _messages(mesh: Mesh, parts: Parts) -> Iterator[FilePlan]:
    messages = MessageModules(mesh)
    packages = messages.packages

    def begin(missing: Collection[str]) -> None:
        messages.begin([package for package in packages if _module(package) in missing])

    for package in packages:
        yield _printed(
            _module(package),
            "pb_module.py.j2",
            lambda package=package: messages.view(package),
            made_from=lambda package=package: parts.of_package(package),
            begin=begin,
        )
    between = {parent for package in packages for parent in _parents(package)}
    for package in sorted(between.difference(packages)):
        yield _package(
            _folder(package), _PACKAGES["pb"] if not package else f"Proto packages below `{package}`."
        )
    yield _printed(
        f"{GENERATED}/pb/message_pool.py", "message_pool.py.j2", lambda: message_pool_view(mesh.names)
    )


def _parents(package: str) -> Iterator[str]:
    """`shop.order.v1` -> ``, `shop`, `shop.order`."""
    parts = package.split(".")
    return (".".join(parts[:n]) for n in range(len(parts)))


def _folder(package: str) -> str:
    return "/".join([GENERATED, "pb", *package.split(".")]).rstrip("/")


def _module(package: str) -> str:
    return f"{_folder(package)}/__init__.py"


def _services(mesh: Mesh, services: Services, parts: Parts) -> Iterator[FilePlan]:
    for service in mesh.services:
        names = services[service.name]
        yield _printed(
            f"{GENERATED}/services/{names.module}.py",
            "service.py.j2",
            lambda service=service, names=names: service_view(service, names, mesh),
            made_from=lambda service=service: parts.of_service(service),
        )


def _sagas(mesh: Mesh, services: Services, parts: Parts) -> Iterator[FilePlan]:
    for saga in (*mesh.sagas, *mesh.kept):
        yield _printed(
            f"{GENERATED}/sagas/{saga_module(saga)}.py",
            "saga.py.j2",
            lambda saga=saga: saga_view(saga, mesh, services),
            made_from=lambda saga=saga: parts.of_saga(saga),
        )


def _mesh(mesh: Mesh, services: Services) -> Iterator[FilePlan]:
    yield _printed(f"{GENERATED}/gateway/routes.py", "routes.py.j2", lambda: routes_view(mesh, services))
    yield _printed(f"{GENERATED}/mesh.py", "mesh.py.j2", lambda: mesh_view(mesh, services))
    if (security := mesh.security) is not None:
        yield _printed(f"{GENERATED}/security.py", "security.py.j2", lambda: security_view(mesh, security))
    yield FilePlan(f"{GENERATED}/descriptors.binpb", lambda: mesh.descriptors)
    yield FilePlan(f"{GENERATED}/saga.schema.json", lambda: as_json(saga_schema()))
    yield FilePlan(f"{GENERATED}/openapi.json", lambda: as_json(openapi(mesh)))


def _deployment(mesh: Mesh) -> Iterator[FilePlan]:
    deploy = f"{GENERATED}/deploy"
    yield _printed(f"{deploy}/Dockerfile", "Dockerfile.j2", image_view)
    yield _printed(f"{deploy}/Dockerfile.dockerignore", "dockerignore.j2", image_view)
    yield _printed(f"{deploy}/pin_images.sh", "pin_images.sh.j2", image_view)
    for path, template in (
        ("compose.yaml", "compose.yaml.j2"),
        ("compose.tls.yaml", "compose.tls.yaml.j2"),
        ("compose.distributed.yaml", "compose.distributed.yaml.j2"),
        ("prometheus/prometheus.yaml", "prometheus.yaml.j2"),
        ("prometheus/prometheus.distributed.yaml", "prometheus.distributed.yaml.j2"),
        ("tempo/tempo.yaml", "tempo.yaml.j2"),
        ("loki/loki.yaml", "loki.yaml.j2"),
        ("grafana/provisioning/datasources/sagagen.yaml", "grafana_datasources.yaml.j2"),
        ("grafana/provisioning/dashboards/sagagen.yaml", "grafana_dashboards.yaml.j2"),
    ):
        yield _printed(f"{deploy}/{path}", template, lambda: compose_view(mesh))
    if has_postgres(mesh):
        for path, template in (
            ("compose.postgres.yaml", "compose.postgres.yaml.j2"),
            ("prometheus/prometheus.postgres.yaml", "prometheus.postgres.yaml.j2"),
        ):
            yield _printed(f"{deploy}/{path}", template, lambda: compose_view(mesh))
    yield _printed(f"{deploy}/prometheus/rules.yaml", "rules.yaml.j2", lambda: rules_view(mesh))
    yield from _dashboards(mesh, f"{deploy}/grafana/dashboards")
    yield from kubernetes_files(mesh, deploy)


def _dashboards(mesh: Mesh, folder: str) -> Iterator[FilePlan]:
    yield FilePlan(
        f"{folder}/overview.json", lambda: _overview(mesh.project), made_from=lambda: digest_of(mesh.project)
    )
    for saga in mesh.sagas:
        yield FilePlan(
            f"{folder}/saga-{saga.name}.json",
            lambda saga=saga: _saga_board(SagaBoard.of(mesh, saga)),
            made_from=lambda saga=saga: digest_of(repr(SagaBoard.of(mesh, saga))),
        )
    for service in mesh.services:
        yield FilePlan(
            f"{folder}/service-{service.name}.json",
            lambda service=service: _service_board(ServiceBoard.of(mesh, service)),
            made_from=lambda service=service: digest_of(repr(ServiceBoard.of(mesh, service))),
        )


# Grafana's SDK is slow to import, and few runs build a board.


def _overview(project: str) -> str:
    from sagagen.emit.dashboards import overview

    return overview(project)


def _saga_board(saga: SagaBoard) -> str:
    from sagagen.emit.dashboards import saga_board

    return saga_board(saga)


def _service_board(service: ServiceBoard) -> str:
    from sagagen.emit.dashboards import service_board

    return service_board(service)


def _docs(mesh: Mesh, parts: Parts) -> Iterator[FilePlan]:
    yield _printed(f"{GENERATED}/docs/index.md", "index_doc.md.j2", lambda: index_doc(mesh))
    if mesh.security is not None:
        yield _printed(f"{GENERATED}/docs/security.md", "security_doc.md.j2", lambda: security_doc(mesh))
    for saga in (*mesh.sagas, *mesh.kept):
        yield _printed(
            f"{GENERATED}/docs/{saga_path(saga)}",
            "saga_doc.md.j2",
            lambda saga=saga: saga_doc(saga, mesh),
            made_from=lambda saga=saga: parts.of_saga(saga),
        )


def _yours(mesh: Mesh, services: Services) -> Iterator[FilePlan]:
    yield _printed("gateway/app.py", "app.py.j2", lambda: app_view(mesh), Ownership.YOURS)
    for service in mesh.services:
        names = services[service.name]
        yield _printed(
            f"handlers/{names.module}.py",
            "handler.py.j2",
            lambda service=service, names=names: handler_view(service, names, mesh),
            Ownership.YOURS,
        )
        yield _printed(
            f"handlers/{names.module}.sql",
            "handler.sql.j2",
            lambda service=service: sql_view(service),
            Ownership.YOURS,
        )


def _printed(
    path: str,
    template: str,
    view: "Callable[[], DataclassInstance]",
    ownership: Ownership = Ownership.GENERATED,
    made_from: Callable[[], str] | None = None,
    begin: Callable[[Collection[str]], None] = nothing,
) -> FilePlan:
    return FilePlan(path, lambda: render_template(template, view()), ownership, made_from, begin)


def refuse_collisions(files: Iterable[FilePlan]) -> None:
    counts = Counter(file.path.casefold() for file in files)
    if taken := [path for path, count in counts.items() if count > 1]:
        raise PathTaken(f"planned twice: {', '.join(sorted(taken))}")


def as_json(value: object) -> bytes:
    """Indented. Python's encoder takes eight times as long to indent a document, which matters for openapi.json."""
    return to_json(value, indent=2) + b"\n"
