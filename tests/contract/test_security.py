"""saga.yaml's `security` section: what it comes to, what is silent without it, and what hides what."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from contract_bench import (
    ROOT,
    Mistake,
    brief,
    edited,
    place,
    resolve_yaml,
    shop_files,
    shop_yaml,
    write_project,
)

from sagagen.cli.check import check
from sagagen.contract.model import Mesh
from sagagen.contract.security_model import Access
from sagagen.contract.security_shape import (
    AdminShape,
    ApiKeyShape,
    CallerLimitsShape,
    CorsShape,
    OidcShape,
    RuleShape,
    SecurityLimitsShape,
    TrustShape,
)
from sagagen.runtime.model.definition import Limits
from sagagen.runtime.model.security import AdminAccess, ApiKeyScheme, CallerLimits, OidcScheme

SECTION = """security:
  schemes:
    customers: { type: oidc, issuer: https://id.example, audience: shop, algorithms: [ES256, RS256],
                 caller: sub, claims: { tenant: string } }
    partners:  { type: api_key, header: X-Api-Key }
  default: { any_of: [customers, partners] }
  routes:
    shop.checkout.v1.CheckoutService/PlaceOrder: { scopes: [orders.write] }
    shop.order.v1.OrderService/GetOrder:         { scopes: [orders.read], allow: response.order.customer_id == caller }
    shop.inventory.v1.InventoryService/GetStock: public
  mesh:   { trust_domain: shop.example }        # services.<name>.callers: [gateway] by default
  admin:  { viewer: [ops.read], operator: [ops.write], four_eyes: [resolve, skip] }
  limits: { per_caller: { rate: 50/s, burst: 100, running: 200 }, body: 32KiB,
            connections: { total: 1000, per_address: 100 } }
  cors:   { origins: [https://shop.example] }
"""
REFERENCE = (ROOT / "docs" / "saga-yaml.md").read_text("utf-8")
UNSAID = edited(shop_yaml(), ((shop_yaml().splitlines(keepends=True)[3], ""),))
CUSTOMERS = OidcScheme(
    "customers", "https://id.example", "shop", ("ES256", "RS256"), claims={"tenant": "string"}
)
BOTH = ("customers", "partners")
SHAPES = (
    OidcShape,
    ApiKeyShape,
    RuleShape,
    TrustShape,
    AdminShape,
    CallerLimitsShape,
    SecurityLimitsShape,
    CorsShape,
)


def secured(*edits: tuple[str, str]) -> str:
    return UNSAID + edited(SECTION, edits)


def mesh_of(text: str) -> Mesh:
    mesh, found = resolve_yaml(text)
    assert brief(found) == []
    assert mesh is not None
    return mesh


def access(mesh: Mesh, rpc: str) -> Access:
    found = next(route.access for route in mesh.routes if route.method.name == rpc)
    assert found is not None
    return found


def test_the_whole_section_is_resolved() -> None:
    mesh = mesh_of(secured())
    security = mesh.security
    assert security is not None
    assert security.schemes == (CUSTOMERS, ApiKeyScheme("partners", "X-Api-Key"))
    assert (security.default, security.trust_domain) == (BOTH, "shop.example")
    assert security.admin == AdminAccess(("ops.read",), ("ops.write",), ("resolve", "skip"))
    assert security.limits == CallerLimits(50.0, 100, 200)
    assert security.origins == ("https://shop.example",)
    assert security.claims == {"tenant": "string"}
    assert mesh.limits == Limits(max_connections=1000, max_connections_per_address=100)
    assert {route.max_body_bytes for route in mesh.routes} == {32 * 1024}
    assert not mesh.is_security_unsaid


def test_the_example_of_the_reference_is_accepted_and_its_table_has_every_key() -> None:
    (example,) = re.findall(r"```yaml\n(security:\n.*?)```", REFERENCE, re.DOTALL)
    assert mesh_of(UNSAID + example).security is not None
    table = REFERENCE[REFERENCE.index("| `schemes.*.type`") : REFERENCE.index("## callers")]
    shapes = (
        OidcShape,
        ApiKeyShape,
        RuleShape,
        TrustShape,
        AdminShape,
        CallerLimitsShape,
        SecurityLimitsShape,
        CorsShape,
    )
    keys = {key for shape in shapes for key in shape.known_keys()}
    assert {key for key in keys if not re.search(rf"[`.]{key}\b", table)} == set()


def test_a_route_knows_who_may_call_it() -> None:
    mesh = mesh_of(secured())
    order, place_order, stock = (access(mesh, rpc) for rpc in ("GetOrder", "PlaceOrder", "GetStock"))
    assert (order.schemes, order.scopes, order.reads_response) == (BOTH, ("orders.read",), True)
    assert order.allow_text == "response.order.customer_id == caller"
    assert (place_order.scopes, place_order.allow, place_order.reads_response) == (
        ("orders.write",),
        None,
        False,
    )
    assert stock.is_public
    assert not order.is_default


def test_a_route_without_a_rule_has_the_default() -> None:
    mesh = mesh_of(secured(("    shop.inventory.v1.InventoryService/GetStock: public\n", "")))
    assert access(mesh, "GetStock").schemes == BOTH
    assert access(mesh, "GetStock").is_default


@pytest.mark.parametrize(
    ("rate", "per_s", "burst"), [("50/s", 50.0, 50), ("30/m", 0.5, 1), ("7200/h", 2.0, 2)]
)
def test_a_burst_is_what_comes_in_a_second(rate: str, per_s: float, burst: int) -> None:
    security = mesh_of(secured(("rate: 50/s, burst: 100,", f"rate: {rate},"))).security
    assert security is not None
    assert (security.limits.rate_per_s, security.limits.burst) == (per_s, burst)


def test_what_the_contract_does_not_say_differs_in_nothing() -> None:
    mesh = mesh_of(UNSAID)
    assert mesh.security is None
    assert {route.access for route in mesh.routes} == {None}
    assert {service.callers for service in mesh.services} == {("gateway",)}
    assert mesh.is_security_unsaid
    assert not mesh_of(UNSAID + "security: none\n").is_security_unsaid


def test_rules_are_no_part_of_what_a_running_saga_relies_on_and_claims_are() -> None:
    plain = mesh_of(UNSAID).sagas[0].digest
    assert mesh_of(secured()).sagas[0].digest == plain
    reads = UNSAID.replace("customer_id: input.customer_id", "customer_id: claims.tenant", 1)
    other = ("claims: { tenant: string }", "claims: { tenant: string, level: int }")
    assert (
        mesh_of(reads + SECTION).sagas[0].digest == mesh_of(reads + edited(SECTION, (other,))).sagas[0].digest
    )
    assert mesh_of(reads + SECTION).sagas[0].digest != plain


def test_check_says_once_what_it_means_that_nothing_is_said(tmp_path: Path) -> None:
    root = write_project(tmp_path, {**shop_files(), "contracts/saga.yaml": UNSAID})
    said = CliRunner().invoke(check, ["--project", str(root)])
    assert said.exit_code == 0
    assert said.stdout.count("SG300") == 1
    assert "whoever reaches the gateway may call all of its 3 routes" in said.stdout
    assert "1 warning" in said.stderr
    (root / "contracts/saga.yaml").write_text(UNSAID + "security: none\n", "utf-8")
    assert "SG300" not in CliRunner().invoke(check, ["--project", str(root)]).stdout


RULE = "allow: response.order.customer_id == caller"
MISTAKES = (
    Mistake(
        "viewers of no scope",
        (("viewer: [ops.read]", "«viewer: []"),),
        "SG014",
        "an empty list",
        "at least one",
    ),
    Mistake(
        "a rule of no scope",
        (("scopes: [orders.read]", "«scopes: []"),),
        "SG014",
        "an empty list",
        "remove the key",
    ),
    Mistake(
        "no algorithm",
        (("algorithms: [ES256, RS256]", "«algorithms: []"),),
        "SG014",
        "an empty list",
        "at least one",
    ),
    Mistake("any audience", (("audience: shop", 'audience: «""'),), "SG014", "an empty text", "write it out"),
    Mistake(
        "a page's host in its own letters",
        (("https://shop.example]", "«https://shöp.example]"),),
        "SG312",
        "in ASCII",
        "xn--",
    ),
    Mistake(
        "a list in place of the section",
        ((SECTION, "«security: [customers]\n"),),
        "SG014",
        "a mapping of keys",
        "key: value",
    ),
    Mistake(
        "a misspelt none", ((SECTION, "security: «no\n"),), "SG015", "not allowed here", 'did you mean "none"'
    ),
    Mistake(
        "a default that is public",
        (("{ any_of: [customers, partners] }", "«public"),),
        "SG014",
        "only if its own rule",
        "write public at each",
    ),
    Mistake(
        "a default of a name",
        (("{ any_of: [customers, partners] }", "«partners"),),
        "SG014",
        "schemes of the default",
        "{ any_of: [partners] }",
    ),
    Mistake(
        "a scheme of a near name",
        (("any_of: [customers, partners]", "any_of: [«customer, partners]"),),
        "SG304",
        'no scheme "customer"',
        'did you mean "customers"',
    ),
    Mistake(
        "a rule of a near name",
        (("OrderService/GetOrder: ", "OrderService/GetOrdr: "), ("    shop.order", "    «shop.order")),
        "SG302",
        "no proto declares",
        'did you mean "shop.order.v1.OrderService/GetOrder"',
    ),
    Mistake(
        "a rule of a call within the mesh",
        (
            (
                "    shop.inventory.v1.InventoryService/GetStock",
                "    «shop.inventory.v1.InventoryService/ReserveStock",
            ),
        ),
        "SG303",
        "has no HTTP route",
        "its callers say",
    ),
    Mistake(
        "a rule of a field that there is not",
        ((RULE, "allow: response.order.«customer == caller"),),
        "SG102",
        'no field "customer"',
        "customer_id",
    ),
    Mistake(
        "a rule that may fail",
        ((RULE, "allow: 10 «/ size(response.order.items) > 1"),),
        "SG113",
        "may fail",
        "ready made",
    ),
    Mistake(
        "a rule that is no condition",
        ((RULE, "allow: «response.order.customer_id"),),
        "SG105",
        "a condition is a bool",
        "compare it",
    ),
    Mistake(
        "a rule about the saga",
        ((RULE, "allow: «saga.id == caller"),),
        "SG126",
        '"saga.id" cannot be read here',
        "readable here: request, response, caller",
    ),
    Mistake(
        "a rule about the input",
        (("{ scopes: [orders.write] }", "{ allow: «input.customer_id == caller }"),),
        "SG126",
        'called "request"',
        "request",
    ),
    Mistake(
        "the answer of a write",
        (("{ scopes: [orders.write] }", "{ allow: «response.order.customer_id == caller }"),),
        "SG126",
        "decided on before",
        "readable here: request, caller",
    ),
    Mistake(
        "a claim of a near name",
        ((RULE, "allow: claims.«tenants == caller"),),
        "SG132",
        'no scheme of the contract names a claim "tenants"',
        '"tenant"',
    ),
    Mistake(
        "all claims at once",
        ((RULE, "allow: «claims == caller"),),
        "SG125",
        "alone is not a value",
        "claims.tenant",
    ),
    Mistake(
        "a field of a claim",
        ((RULE, "allow: claims.tenant.«id == caller"),),
        "SG125",
        'string has no field "id"',
        'remove ".id"',
    ),
    Mistake(
        "two types of a claim",
        (
            (
                "    partners:",
                "    staff: { type: oidc, issuer: https://a.example, audience: b, "
                "claims: { tenant: «bool } }\n    partners:",
            ),
        ),
        "SG311",
        "bool here, and string in",
        "one type",
    ),
    Mistake(
        "a secret of both sides",
        (("[ES256, RS256]", "[«HS512, RS256]"),),
        "SG308",
        "knows the secret",
        "ES256",
    ),
    Mistake("no signature", (("[ES256, RS256]", "[«None, RS256]"),), "SG308", "without a signature", "ES256"),
    Mistake(
        "an issuer that is no URL",
        (("https://id.example", "«id.example"),),
        "SG309",
        "not the URL",
        "https://",
    ),
    Mistake(
        "an issuer with a login",
        (("https://id.example", "«https://me:pass@id.example"),),
        "SG309",
        "not the URL",
        "https://",
    ),
    Mistake(
        "an issuer in the clear",
        (("https://id.example", "«http://id.example"),),
        "SG309",
        "not https",
        "localhost",
    ),
    Mistake(
        "a hop's header", (("X-Api-Key", "«Proxy-Authorization"),), "SG310", "one connection", "X-Api-Key"
    ),
    Mistake("a key's header", (("X-Api-Key", "«idempotency-key"),), "SG310", "key of a request", "X-Api-Key"),
    Mistake("a header of the mesh", (("X-Api-Key", "«Sagagen-Claims"),), "SG310", "mesh uses", "X-Api-Key"),
    Mistake("a rate of no time", (("rate: 50/s", "rate: «50"),), "SG313", '"50" is not a rate', "50/s"),
    Mistake("a rate of a day", (("rate: 50/s", "rate: «50/d"),), "SG313", "is not a rate", "300/m"),
    Mistake("a rate of nothing", (("rate: 50/s", "rate: «0/s"),), "SG019", "out of range", "from 1"),
    Mistake(
        "a burst of nothing",
        (("rate: 50/s, burst: 100", "burst: «100"),),
        "SG315",
        "without a rate",
        "add rate",
    ),
    Mistake(
        "more sagas than there are",
        (("running: 200", "running: «10001"),),
        "SG315",
        "at most 10000",
        "lower it",
    ),
    Mistake(
        "more from one than from all",
        (("per_address: 100", "per_address: «1001"),),
        "SG315",
        "at most 1000",
        "lower it",
    ),
    Mistake("any page", (("[https://shop.example]", '[«"*"]'),), "SG312", "any page", "name each"),
    Mistake(
        "a page and not its origin",
        (("[https://shop.example]", "[«https://shop.example/cart]"),),
        "SG312",
        "a path",
        "write https://shop.example",
    ),
    Mistake("a star that YAML reads", (("[https://shop.example]", "[*«]"),), "SG010", "alias", "in quotes"),
    Mistake(
        "a command that needs no second person",
        (("[resolve, skip]", "[resolve, «retry]"),),
        "SG015",
        "not allowed",
        "known here: resolve, skip",
    ),
    Mistake(
        "a domain with its scheme",
        (("shop.example }  ", "«spiffe://shop.example }  "),),
        "SG017",
        "trust domain",
        "without spiffe://",
    ),
    Mistake(
        "scopes in one text",
        (("[orders.read]", "[«orders.read orders.write]"),),
        "SG017",
        "cannot be a scope",
        "an item of its own",
    ),
    Mistake(
        "a caller of a near name",
        (
            (
                "order: { implements: [shop.order.v1.OrderService] }",
                "order: { implements: [shop.order.v1.OrderService], callers: [«gatewy] }",
            ),
        ),
        "SG316",
        'no service "gatewy"',
        '"gateway"',
    ),
    Mistake(
        "a service that nobody reaches",
        (
            (
                "order: { implements: [shop.order.v1.OrderService] }",
                "order: { implements: [shop.order.v1.OrderService], callers: [«inventory] }",
            ),
        ),
        "SG317",
        "keep the gateway out",
        "[gateway, inventory]",
    ),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_is_reported_at_its_place_and_nothing_else_is(mistake: Mistake) -> None:
    text = edited(UNSAID + SECTION, mistake.edits)
    mesh, found = resolve_yaml(text)
    assert brief(found) == [(place(text), mistake.code)]
    assert mistake.message in found[0].message
    assert mistake.hint in found[0].hint
    assert mesh is None


CLAIM = (RULE, "allow: claims.tenant == caller")
SCHEMES = SECTION[SECTION.index("  schemes:") : SECTION.index("  default:")]
HIDING: dict[str, tuple[tuple[str, str], ...]] = {
    "a scheme hides its name and its claims": (("type: oidc", "type: «oauth"), CLAIM),
    "a claim hides itself": (("tenant: string", "tenant: «text"), CLAIM),
    "schemes that are a list hide all names": ((SCHEMES, "  «schemes: [customers]\n"), CLAIM),
    "a default hides who may call what has no rule": (
        ("  default: { any_of: [customers, partners] }", "  «default: [customers]"),
    ),
    "a rule hides that it is missing": (
        ("  default: { any_of: [customers, partners] }\n", ""),
        ("{ scopes: [orders.write] }", "{ any_of: [customers, partners] }"),
        ("GetStock: public", "GetStock: «open"),
        ("{ scopes: [orders.read], ", "{ any_of: [customers], "),
    ),
}


@pytest.mark.parametrize("edits", HIDING.values(), ids=HIDING)
def test_what_only_follows_from_a_mistake_is_not_reported(edits: tuple[tuple[str, str], ...]) -> None:
    text = edited(UNSAID + SECTION, edits)
    _, found = resolve_yaml(text)
    assert [finding.at for finding in found] == [place(text)]


def test_without_a_default_each_route_needs_a_rule() -> None:
    text = secured(
        ("  default: { any_of: [customers, partners] }\n", ""),
        ("    shop.inventory.v1.InventoryService/GetStock: public\n", ""),
        ("{ scopes: [orders.write] }", "{ any_of: [customers] }"),
        ("{ scopes: [orders.read], ", "{ any_of: [partners], "),
    )
    _, found = resolve_yaml(text)
    assert [finding.code for finding in found] == ["SG301"]
    assert '"shop.inventory.v1.InventoryService/GetStock"' in found[0].message
    assert "shop.inventory.v1.InventoryService/GetStock: public" in found[0].hint
