"""The files of generated/deploy/kubernetes: a base, components that change it, and an overlay for each stage."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from sagagen.cache import digest_of
from sagagen.contract.model import Mesh
from sagagen.emit.files import FilePlan
from sagagen.emit.kubernetes_view import (
    KubernetesView,
    PodView,
    ResourceComponentView,
    ServiceView,
    boards_view,
    kubernetes_view,
    operator_rules_view,
    overlay_view,
    pod_file,
)
from sagagen.emit.templates import render_template

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_OVERLAYS = (
    ("stage", "5Gi", "What is like production, and is not."),
    ("prod", "20Gi", "Production."),
)
"""Name, size of volumes, and what it is for."""
_INGRESS = (
    "The gateway behind the cluster's ingress. An overlay says the host, and names the ingress's addresses in",
    "SAGAGEN_TRUSTED_PROXIES, so that the gateway knows who its clients are.",
)
_HTTP_ROUTE = (
    "The gateway behind a Gateway (Gateway API). An overlay says which, and the host, and names the proxies' addresses",
    "in SAGAGEN_TRUSTED_PROXIES, so that the gateway knows who its clients are.",
)


def kubernetes_files(mesh: Mesh, deploy: str) -> Iterator[FilePlan]:
    """All of them, below the folder `deploy`."""
    view = cache(lambda: kubernetes_view(mesh))
    root = f"{deploy}/kubernetes"
    yield _file(f"{deploy}/grafana/dashboards/kustomization.yaml", "boards", lambda: boards_view(mesh))
    yield from _base(mesh, view, f"{root}/base")
    yield from _components(mesh, view, f"{root}/components")
    yield _file(f"{root}/overlays/dev/kustomization.yaml", "dev", view)
    yield _file(f"{root}/overlays/dev/namespace.yaml", "namespace", view)
    for name, volume, what in _OVERLAYS:
        yield _file(
            f"{root}/overlays/{name}/kustomization.yaml",
            "overlay",
            lambda name=name, volume=volume, what=what: overlay_view(view(), name, what, volume),
        )


def _base(mesh: Mesh, view: Callable[[], KubernetesView], base: str) -> Iterator[FilePlan]:
    yield _file(f"{base}/kustomization.yaml", "base", view)
    yield _file(f"{base}/mesh.yaml", "mesh", view)
    yield _file(f"{base}/network-policies.yaml", "network_policies", view)
    yield _of_pod(f"{base}/gateway.yaml", "process", view, lambda: view().gateway)
    for service in view().services:
        yield _of_pod(
            f"{base}/{service.key}.yaml",
            "process",
            view,
            lambda service=service: service.sqlite,
            service,
        )


def _components(mesh: Mesh, view: Callable[[], KubernetesView], folder: str) -> Iterator[FilePlan]:
    for name, templates in (
        ("redis", {"kustomization": "redis_kustomization", "network-policy": "redis_network_policy"}),
        (
            "postgres-server",
            {"kustomization": "postgres_server_kustomization", "server": "postgres_server"},
        ),
        ("redis-server", {"kustomization": "redis_server_kustomization", "server": "redis_server"}),
        ("certificates", {"kustomization": "certificates"}),
        ("cert-manager", {"kustomization": "cert_manager", "certificates": "cert_manager_certificates"}),
        ("encryption", {"kustomization": "encryption"}),
        ("monitoring", {"kustomization": "monitoring", "service-monitor": "service_monitor"}),
        ("dashboards", {"kustomization": "dashboards"}),
        ("tracing", {"kustomization": "tracing_kustomization", "network-policy": "tracing_network_policy"}),
        ("ingress", {"ingress": "ingress"}),
        ("http-route", {"http-route": "http_route"}),
    ):
        for file, template in templates.items():
            yield _file(f"{folder}/{name}/{file}.yaml", template, view)
    for name, about in (("ingress", _INGRESS), ("http-route", _HTTP_ROUTE)):
        yield _file(
            f"{folder}/{name}/kustomization.yaml",
            "resource_component",
            lambda name=name, about=about: ResourceComponentView(view().header, about, f"{name}.yaml"),
        )
    yield _file(
        f"{folder}/monitoring/prometheus-rule.yaml", "prometheus_rule", lambda: operator_rules_view(mesh)
    )
    yield _file(f"{folder}/postgres-log/kustomization.yaml", "postgres_log_kustomization", view)
    yield _of_pod(f"{folder}/postgres-log/deployment.yaml", "postgres_log", view, lambda: view().gateways)
    yield from _restate(view, f"{folder}/restate")
    if view().postgres:
        yield from _postgres(view, folder)


def _restate(view: Callable[[], KubernetesView], folder: str) -> Iterator[FilePlan]:
    yield _file(f"{folder}/kustomization.yaml", "restate_kustomization", view)
    yield _file(f"{folder}/network-policies.yaml", "restate_network_policies", view)
    yield _of_pod(f"{folder}/gateway.yaml", "restate_gateway", view, lambda: view().restate_gateways)
    yield _of_pod(f"{folder}/engine.yaml", "restate_engine", view, lambda: view().engine)


def _postgres(view: Callable[[], KubernetesView], folder: str) -> Iterator[FilePlan]:
    """Only where a service can be on PostgreSQL."""
    yield _file(f"{folder}/postgres/kustomization.yaml", "postgres", view)
    for name, template in (("kustomization", "autoscaling_kustomization"), ("autoscalers", "autoscalers")):
        yield _file(f"{folder}/autoscaling/{name}.yaml", template, view)
    for service in view().postgres:
        for name, template in (
            ("kustomization", "postgres_service_kustomization"),
            ("deployment", "postgres_service"),
        ):
            yield _of_pod(
                f"{folder}/postgres/{service.key}/{name}.yaml",
                template,
                view,
                lambda service=service: service.postgres or service.sqlite,
                service,
            )


def _of_pod(
    path: str,
    template: str,
    view: Callable[[], KubernetesView],
    pod: Callable[[], PodView],
    service: ServiceView | None = None,
) -> FilePlan:
    return _file(path, template, lambda: pod_file(view(), pod(), service))


def _file(path: str, template: str, view: "Callable[[], DataclassInstance]") -> FilePlan:
    """Made again only where its view is another one: there are many of them, and few change."""
    return FilePlan(
        path,
        lambda: render_template(f"kubernetes/{template}.yaml.j2", view()),
        made_from=lambda: digest_of(repr(view())),
    )
