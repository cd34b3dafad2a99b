"""generated/deploy/kubernetes: built by kustomize, held against the schemas of Kubernetes, and asked who may what."""

import json
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from kubernetes_build import (
    KUBERNETES,
    PROJECT,
    WORKLOADS,
    Object,
    build,
    container,
    labels,
    may_reach,
    needs_kustomize,
    of_kind,
    overlay,
    pods,
    selects,
    variables,
)
from project_copy import generate
from yaml_files import read_yaml

from sagagen.emit.kubernetes_names import HEADLESS, LONGEST, dns_labels
from sagagen.emit.kubernetes_view import DEVELOPMENT_KEY, DRAIN_S, FORCED_S
from sagagen.runtime.access.api_keys import digest_of
from sagagen.runtime.process.stopping import FORCED_AFTER_S
from sagagen.runtime.settings import Settings

pytestmark = needs_kustomize()

VERSION = "1.37"
OVERLAYS = ("dev", "stage", "prod")
SERVICES = ("order", "inventory", "payment")
CUSTOM: dict[str, dict[str, set[str]]] = {
    "ServiceMonitor": {"required": {"selector", "endpoints"}, "allowed": set()},
    "PrometheusRule": {"required": {"groups"}, "allowed": set()},
    "HTTPRoute": {"required": {"parentRefs", "rules"}, "allowed": {"hostnames"}},
    "Issuer": {"required": set(), "allowed": {"selfSigned", "ca"}},
    "Certificate": {
        "required": {"secretName", "issuerRef", "duration", "privateKey"},
        "allowed": {"isCA", "commonName", "uris", "usages", "renewBefore"},
    },
}
"""Fields of `spec` of what is no part of Kubernetes itself."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop, with the overlay of docs/kubernetes.md, and every component in it."""
    root = tmp_path_factory.mktemp("shop")
    shutil.copytree(PROJECT / "generated" / "deploy", root / "generated" / "deploy")
    folder = root / "deploy" / "prod"
    folder.mkdir(parents=True)
    page = (PROJECT / "docs" / "kubernetes.md").read_text("utf-8")
    found = re.search(r"```yaml\n# deploy/prod/kustomization.yaml\n(.*?)```", page, re.DOTALL)
    assert found, "docs/kubernetes.md has no overlay"
    (folder / "kustomization.yaml").write_text(found[1], "utf-8")
    return root


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A contract of tests/golden that has all that may stand in one."""
    root = tmp_path_factory.mktemp("odd")
    case = PROJECT / "tests" / "golden" / "kubernetes-of-a-contract"
    shutil.copytree(case / "contracts", root / "contracts")
    shutil.copytree(case / "handlers", root / "handlers")
    return generate(root)


def every_build(shop: Path, odd: Path) -> Iterator[list[Object]]:
    yield from (overlay(name) for name in OVERLAYS)
    yield build(shop / "deploy" / "prod")
    yield from (overlay(name, odd) for name in ("dev", "prod"))
    yield from (build(gateways_of(odd, component)) for component in ("postgres-log", "restate"))


def gateways_of(root: Path, component: str) -> Path:
    """An overlay with several gateways."""
    folder = root / f"gateways-{component}"
    folder.mkdir(exist_ok=True)
    kubernetes = "../generated/deploy/kubernetes"
    (folder / "kustomization.yaml").write_text(
        f"namespace: payments\nresources: [{kubernetes}/overlays/dev]\n"
        f"components: [{kubernetes}/components/{component}, {kubernetes}/components/certificates]\n"
    )
    return folder


@pytest.fixture(scope="module")
def builds(shop: Path, odd: Path) -> list[list[Object]]:
    return [*every_build(shop, odd)]


def test_every_object_is_valid_for_a_current_kubernetes(
    builds: list[list[Object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    utils: Any = pytest.importorskip("kubernetes_validate.utils")
    monkeypatch.setattr(utils, "schema_contents", cache(utils.schema_contents))  # else read for each object
    validate: Callable[..., Any] = utils.validate
    of_the_page = [*_objects_of_the_page()]
    assert {each["kind"] for each in of_the_page} == {"Job", "NetworkPolicy"}
    every = [*builds, of_the_page]
    seen = {json.dumps(each, sort_keys=True): each for objects in every for each in objects}
    for each in seen.values():
        if each["kind"] in CUSTOM:
            fields = CUSTOM[each["kind"]]
            written = set(each["spec"])
            assert fields["required"] <= written <= fields["required"] | fields["allowed"], each
        else:
            validate(each, VERSION, strict=True)


def _objects_of_the_page() -> Iterator[Object]:
    page = (PROJECT / "docs" / "kubernetes.md").read_text("utf-8")
    blocks = [
        textwrap.dedent(block)
        for block in re.findall(r"^ *```yaml\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE)
    ]
    found = [read_yaml(block) for block in blocks]
    yield from (each for each in found if each.get("kind", "Kustomization") != "Kustomization")


def test_each_object_has_a_name_of_its_own_that_fits(builds: list[list[Object]]) -> None:
    for objects in builds:
        names = [(each["kind"], each["metadata"]["name"]) for each in objects]
        assert len(set(names)) == len(names)
        for _, name in names:
            assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name), name


def test_every_pod_is_confined(builds: list[list[Object]]) -> None:
    """The profile `restricted` of the pod security standards, and what it does not ask for."""
    for objects in builds:
        for name, pod in pods(objects).items():
            spec, one = pod["spec"], container(pod)
            assert spec["automountServiceAccountToken"] is False, name
            assert spec["securityContext"]["runAsNonRoot"], name
            assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
            assert one["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(one["resources"]["limits"]) == set(one["resources"]["requests"]) == {"cpu", "memory"}
            assert {"livenessProbe", "readinessProbe"} <= set(one)
            for volume in spec["volumes"]:
                for source in (volume.get("secret"), volume.get("projected")):
                    assert source is None or source["defaultMode"] == 0o440, name


def test_every_selector_finds_pods(builds: list[list[Object]]) -> None:
    for objects in builds:
        of_pods = [labels(pod) for pod in pods(objects).values()]
        for each in objects:
            match each["kind"]:
                case "Service":
                    selector = {"matchLabels": each["spec"]["selector"]}
                case "Deployment" | "StatefulSet" | "PodDisruptionBudget":
                    selector = each["spec"]["selector"]
                case "NetworkPolicy":
                    selector = each["spec"]["podSelector"]
                case _:
                    continue
            found = [of for of in of_pods if selects(selector, of)]
            assert found, each
            assert each["kind"] not in WORKLOADS or found == [labels(each["spec"]["template"])], each


def test_dev_needs_nothing_from_outside_and_others_the_secrets_that_the_page_names() -> None:
    def missing(objects: list[Object]) -> set[str]:
        there = set(of_kind(objects, "Secret"))
        volumes = [volume for pod in pods(objects).values() for volume in pod["spec"]["volumes"]]
        return {volume["secret"]["secretName"] for volume in volumes if "secret" in volume} - there

    assert not missing(overlay("dev"))
    page = (PROJECT / "docs" / "kubernetes.md").read_text("utf-8")
    made = set(re.findall(r"create secret generic (\S+)", page))
    wanted = missing(overlay("prod"))
    assert wanted == {"mesh-key", "admin-token", "redis", *(f"{name}-database" for name in SERVICES)}
    assert wanted - {"inventory-database", "payment-database"} <= made


def test_who_may_reach_whom_is_what_the_contract_says() -> None:
    objects = overlay("dev")
    of = pods(objects)
    ports = {"order": 50051, "inventory": 50052, "payment": 50053}
    stranger: Object = {"metadata": {"labels": {"app.kubernetes.io/name": "gateway"}}}
    for name, port in ports.items():
        assert may_reach(objects, of["gateway"], of[name], port)
        assert not may_reach(objects, of["gateway"], of[name], 8081)
        assert not may_reach(objects, stranger, of[name], port), "of another mesh"
        assert may_reach(objects, of[name], of["redis"], 6379)
        assert may_reach(objects, of[name], of["postgres"], 5432)
        assert not any(may_reach(objects, of[name], of[other], ports[other]) for other in ports)
        assert not may_reach(objects, of[name], of["gateway"], 8080)
    assert not may_reach(objects, of["gateway"], of["postgres"], 5432)
    assert not may_reach(objects, of["redis"], of["postgres"], 5432)
    assert may_reach(objects, stranger, of["gateway"], 8080)


def test_callers_of_the_contract_may_reach_a_service_and_the_gateway_asks_its_issuer(odd: Path) -> None:
    objects = overlay("prod", odd)
    of = pods(objects)
    assert may_reach(objects, of["card-payments"], of["ledger"], 50053)
    assert not may_reach(objects, of["gateway"], of["ledger"], 50053), "the contract keeps it out"
    assert not may_reach(objects, of["ledger"], of["card-payments"], 50052)
    egress = of_kind(objects, "NetworkPolicy")["gateway"]["spec"]["egress"]
    assert [each["port"] for each in egress[-1]["ports"]] == [8443]


def test_a_service_is_on_postgres_where_it_has_its_sql(odd: Path) -> None:
    objects = overlay("prod", odd)
    kinds = {name: each["kind"] for name, each in of_kind(objects, *WORKLOADS).items()}
    assert kinds == {
        "gateway": "StatefulSet",
        "postgres-service": "StatefulSet",
        "card-payments": "Deployment",
        "ledger": "StatefulSet",
    }
    deployment = of_kind(objects, "Deployment")["card-payments"]
    assert deployment["spec"]["replicas"] == 3
    known = variables(pods(objects)["gateway"], objects)
    assert known["SAGAGEN_CARD_PAYMENTS_ADDR"] == "dns:///card-payments-headless:50052"
    assert known["SAGAGEN_LEDGER_ADDR"] == "ledger:50053"
    assert of_kind(objects, "Service")["card-payments-headless"]["spec"]["clusterIP"] == "None"


def test_gateways_on_one_log_are_a_deployment_that_knows_where_services_are(odd: Path) -> None:
    objects = build(gateways_of(odd, "postgres-log"))
    assert "gateway" not in of_kind(objects, "StatefulSet")
    gateway = of_kind(objects, "Deployment")["gateway"]["spec"]
    known = variables(gateway["template"], objects)
    assert gateway["replicas"] == 2
    assert known["SAGAGEN_ENGINE_URL_FILE"] == "/run/sagagen/database/url"
    assert known["SAGAGEN_CARD_PAYMENTS_ADDR"] == "dns:///card-payments-headless:50052"
    assert known["SAGAGEN_TLS_DIR"] == "/run/sagagen/tls"
    for kind in ("Service", "PodDisruptionBudget"):
        selector = of_kind(objects, kind)["gateway"]["spec"]["selector"]
        assert selects(
            selector if "matchLabels" in selector else {"matchLabels": selector}, labels(gateway["template"])
        )
    assert may_reach(objects, gateway["template"], pods(objects)["postgres"], 5432)
    (scripts,) = (
        each for name, each in of_kind(objects, "ConfigMap").items() if name.startswith("postgres-")
    )
    assert scripts["data"]["databases.sql"] == 'CREATE DATABASE "gateway"; CREATE DATABASE "card-payments";'


def test_on_restate_gateways_keep_nothing_and_adapters_are_behind_one_address(odd: Path) -> None:
    objects = build(gateways_of(odd, "restate"))
    assert "gateway" not in of_kind(objects, "StatefulSet")
    of = pods(objects)
    gateway, engine = (variables(of[name], objects) for name in ("gateway", "engine"))
    for name, known in (("gateway", gateway), ("engine", engine)):
        assert of_kind(objects, "Deployment")[name]["spec"]["replicas"] == 2
        assert known["SAGAGEN_ENGINE_URL"] == "restate+http://restate.restate.svc:8080"
        assert known["SAGAGEN_CARD_PAYMENTS_ADDR"] == "dns:///card-payments-headless:50052"
        assert known["SAGAGEN_TLS_DIR"] == "/run/sagagen/tls"
        assert {volume["name"] for volume in of[name]["spec"]["volumes"] if "emptyDir" in volume} == {
            "tmp",
            "data",
        }
    assert (gateway["POD_IP"], gateway["SAGAGEN_ENGINE_REPLY_ADDR"]) == ("$(status.podIP)", "$(POD_IP):9081")
    assert engine["SAGAGEN_ENGINE_PUBLIC_URL"] == "http://engine.$(POD_NAMESPACE).svc:9080"
    assert of_kind(objects, "Service")["engine"]["spec"]["ports"][0]["port"] == 9080
    assert may_reach(objects, of["engine"], of["gateway"], 9081)
    assert not may_reach(objects, of["engine"], of["gateway"], 8081)
    assert not may_reach(objects, of["gateway"], of["engine"], 9080)
    assert may_reach(objects, of["engine"], of["card-payments"], 50052)
    assert not may_reach(objects, of["engine"], of["ledger"], 50053), "the contract keeps the gateway out"
    projected = [volume for volume in of["engine"]["spec"]["volumes"] if volume["name"] == "tls"]
    assert projected[0]["projected"]["sources"][0]["secret"]["name"] == "gateway-tls", (
        "it acts as the gateway"
    )


def test_a_mesh_without_sql_for_postgres_has_no_such_component(
    generated_project: Callable[[str], Path],
) -> None:
    root = generated_project("tiny")
    components = {each.name for each in (root / KUBERNETES / "components").iterdir()}
    assert not {"postgres", "autoscaling"} & components
    assert set(of_kind(overlay("dev", root), "Deployment")) == {"redis"}


def test_one_pod_of_a_file_is_never_kept_from_moving_and_pods_of_postgres_leave_one_by_one() -> None:
    objects = overlay("prod")
    for name, budget in of_kind(objects, "PodDisruptionBudget").items():
        assert budget["spec"]["maxUnavailable"] == 1, name
        assert "minAvailable" not in budget["spec"]
    deployment = of_kind(objects, "Deployment")["order"]["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


def test_a_pod_has_the_time_that_a_process_takes_to_stop() -> None:
    assert Settings.read({}, PROJECT).grace.seconds == DRAIN_S
    assert FORCED_AFTER_S == FORCED_S
    for name, pod in pods(overlay("prod")).items():
        before = (
            container(pod).get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ("", "0"))
        )
        assert pod["spec"]["terminationGracePeriodSeconds"] > int(before[1]) + DRAIN_S + FORCED_S, name


def test_a_changed_setting_starts_pods_again_and_reaches_each_process(shop: Path) -> None:
    before, after = overlay("prod"), build(shop / "deploy" / "prod")
    for name in ("gateway", *SERVICES):
        old, new = (container(pods(each)[name])["envFrom"][0] for each in (before, after))
        assert old["configMapRef"]["name"] != new["configMapRef"]["name"]
        assert variables(pods(after)[name], after)["SAGAGEN_MAX_RUNNING"] == "500"


def test_the_overlay_of_the_page_says_image_host_and_database(shop: Path) -> None:
    objects = build(shop / "deploy" / "prod")
    images = {container(pods(objects)[name])["image"] for name in ("gateway", *SERVICES)}
    assert images == {"registry.example/shop:1.4.0"}
    (ingress,) = of_kind(objects, "Ingress").values()
    assert ingress["spec"]["rules"][0]["host"] == "shop.example.com"
    assert "replicas" not in of_kind(objects, "Deployment")["order"]["spec"], "the autoscaler says how many"
    known = variables(pods(objects)["order"], objects)
    assert known["SAGAGEN_TLS_DIR"] == "/run/sagagen/tls"
    assert "SAGAGEN_ENCRYPTION_KEYS_FILE" in variables(pods(objects)["gateway"], objects)


def test_each_process_has_a_certificate_with_its_name(shop: Path, odd: Path) -> None:
    folder = odd / "deploy"
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(
        "resources: [../generated/deploy/kubernetes/overlays/prod]\n"
        "components: [../generated/deploy/kubernetes/components/cert-manager]\n"
    )
    objects = build(folder)
    certificates = of_kind(objects, "Certificate")
    for name, pod in pods(objects).items():
        (tls,) = (
            volume["projected"]["sources"] for volume in pod["spec"]["volumes"] if volume["name"] == "tls"
        )
        assert tls[0]["secret"]["name"] == certificates[name]["spec"]["secretName"]
        process = container(pod)["command"][-1]
        assert certificates[name]["spec"]["uris"] == [f"spiffe://payments.example/{process}"]


def test_the_operator_gets_the_rules_of_prometheus_and_scrapes_every_process(shop: Path) -> None:
    objects = build(shop / "deploy" / "prod")
    (rule,) = of_kind(objects, "PrometheusRule").values()
    rules = read_yaml((PROJECT / "generated" / "deploy" / "prometheus" / "rules.yaml").read_text("utf-8"))
    assert rule["spec"]["groups"] == rules["groups"]
    (monitor,) = of_kind(objects, "ServiceMonitor").values()
    (admin,) = (
        each
        for each in of_kind(objects, "Service").values()
        if selects(monitor["spec"]["selector"], each["metadata"]["labels"])
    )
    assert monitor["spec"]["endpoints"][0]["port"] == admin["spec"]["ports"][0]["name"]
    for name in ("gateway", *SERVICES):
        assert selects({"matchLabels": admin["spec"]["selector"]}, labels(pods(objects)[name]))
    boards = [
        each
        for each in of_kind(objects, "ConfigMap").values()
        if "grafana_dashboard" in each["metadata"].get("labels", {})
    ]
    emitted = {path.name for path in (PROJECT / "generated/deploy/grafana/dashboards").glob("*.json")}
    assert {file for board in boards for file in board["data"]} == emitted


def test_the_key_of_dev_is_good_for_every_route(odd: Path) -> None:
    (keys,) = (
        each for name, each in of_kind(overlay("dev", odd), "Secret").items() if name.startswith("api-keys")
    )
    line = (keys.get("stringData") or _decoded(keys["data"]))["api-keys"]
    assert line.split()[1:] == [
        f"sha256:{digest_of(DEVELOPMENT_KEY).hex()}",
        "scope=ops.read",
        "scope=ops.write",
        "scope=pay",
    ]


def _decoded(data: dict[str, str]) -> dict[str, str]:
    import base64

    return {name: base64.b64decode(value).decode() for name, value in data.items()}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["order", "n_orders"], ["order", "n-orders"]),
        (["redis", "on", "admin"], ["redis-service", "on-service", "admin-service"]),
        (["a_b", "a__b"], ["a-b", "a-b-af3bd3a1"]),
        (["end_"], ["end"]),
    ],
)
def test_names_become_labels(names: list[str], expected: list[str]) -> None:
    made = [*dns_labels(names, {"redis", "admin"}).values()]
    assert [re.sub("-[0-9a-f]{8}$", "-af3bd3a1", each) for each in made] == expected


def test_long_names_and_names_of_headless_services_stay_apart() -> None:
    names = ["x" * 63, "x" * 62 + "y", "order", "order_headless"]
    made = [*dns_labels(names).values()]
    assert len({*made, *(f"{each}{HEADLESS}" for each in made)}) == 8
    assert max(map(len, made)) <= LONGEST
