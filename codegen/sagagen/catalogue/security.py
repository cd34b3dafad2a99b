"""Codes about who may call what."""

from collections.abc import Iterator

from sagagen.catalogue.entry import Entry, Section

DEFAULT = "default: { any_of: [customers, partners] }"
OVERVIEW = "shop.v1.DeskService/GetOverview: public"
DESK = "desk: { implements: [shop.v1.DeskService] }"


def _rules() -> Iterator[Entry]:
    yield Entry(
        "SG300",
        "The contract has no `security` section. Whoever reaches the gateway may call all of its routes, under any "
        "name that the hook of gateway/app.py lets through. Only `sagagen check` says so.",
        "Write the section (docs/saga-yaml.md). Where something else decides who may call, a proxy or that hook, say "
        "that: `security: none`.",
        is_warning=True,
    )
    yield Entry(
        "SG301",
        "Routes without a rule, and `security` has no default. Once the section is there, nothing is public by chance.",
        "Give each a rule under `security.routes` (`public`, or scopes and schemes), or give `security` a default.",
        "# " + DEFAULT,
        DEFAULT,
    )
    yield Entry(
        "SG302",
        "`security.routes` names an rpc that no proto declares.",
        "Correct the name: package.Service/Method.",
        "shop.v1.DeskService/GetOvervew: public",
        OVERVIEW,
    )
    yield Entry(
        "SG303",
        "`security.routes` names an rpc without an HTTP route, which nobody can call through the gateway.",
        "Remove the rule, or give the rpc a route. Within the mesh, `callers` of a service say who may call it.",
        "shop.v1.StockService/CountStock: public",
        OVERVIEW,
    )
    yield Entry(
        "SG304",
        "A default or a rule names a scheme that there is not.",
        "Correct the name, or declare it under `security.schemes`.",
        "default: { any_of: [customers, partner] }",
        DEFAULT,
    )
    yield Entry(
        "SG305",
        "A rule, the default or `admin` needs to know who calls, and names no scheme by which that is found out.",
        "Name one: `any_of: [customers]`. If anybody may call the route, write `public`.",
        "any_of: [], scopes: [orders.read]",
        "any_of: [staff], scopes: [orders.read]",
    )
    yield Entry(
        "SG306",
        "No route asks for the scheme.",
        "Name it in the default or in a rule, or remove it.",
        "any_of: [customers], scopes: [orders.read]",
        "any_of: [staff], scopes: [orders.read]",
        is_note=True,
    )


def _schemes() -> Iterator[Entry]:
    yield Entry(
        "SG307",
        "Two schemes know the same sign of a caller (issuer and audience, or a header), so that nobody can say which "
        "one it is.",
        "Make one scheme of the two, or give one another audience or header.",
        "issuer: https://id.example/, audience: shop, claims: { team",
        "issuer: https://staff.example, audience: shop, claims: { team",
    )
    yield Entry(
        "SG308",
        "An algorithm that is never believed: without a signature (`none`), or with a secret that whoever checks has "
        "to know as well (`HS256`).",
        "Use one with a public key: ES256, RS256, EdDSA.",
        "algorithms: [HS256]",
        "algorithms: [ES256]",
    )
    yield Entry(
        "SG309",
        "The issuer is no https URL: its keys would come from whoever is on the way.",
        "Write the URL that tokens have in `iss`. http is only for an issuer on localhost.",
        "issuer: http://id.example",
        "issuer: https://id.example",
    )
    yield Entry(
        "SG310",
        "An API key in a header that has another use: `Authorization`, `Idempotency-Key`, `Host`, or one that proxies "
        "remove.",
        "Use a header of its own: `X-Api-Key`.",
        "header: Authorization",
        "header: X-Api-Key",
    )
    yield Entry(
        "SG311",
        "Two schemes name the same claim, with two types.",
        "Give it one type.",
        "claims: { team: string, tenant: int }",
        "claims: { team: string }",
    )


def _limits() -> Iterator[Entry]:
    yield Entry(
        "SG312",
        "What `cors.origins` names is not an origin, or would let pages of strangers call: `*`, or http.",
        "Write scheme, host and port, as browsers send them: `https://shop.example`.",
        "origins: [https://shop.example/cart]",
        "origins: [https://shop.example]",
    )
    yield Entry(
        "SG313",
        "A rate that is not so many requests in a second, a minute or an hour.",
        "Write it like `50/s`, `300/m` or `1000/h`.",
        "rate: 50",
        "rate: 50/s",
    )
    yield Entry(
        "SG314",
        "One limit in both of its places: `security.limits` and `limits`.",
        "Remove one of the two.",
        "limits: { max_connections: 2000, body",
        "limits: { body",
    )
    yield Entry(
        "SG315",
        "A limit without effect: `burst` without a rate, more sagas of one caller than the gateway takes at all, or "
        "more connections from one address than there are.",
        "Lower it, or remove it.",
        "running: 20000",
        "running: 200",
    )
    yield Entry(
        "SG316",
        "`callers` of a service names something that is not in the mesh.",
        "Name a service, or `gateway`.",
        "desk: { implements: [shop.v1.DeskService], callers: [gatway] }",
        DESK,
    )
    yield Entry(
        "SG317",
        "`callers` of a service leave the gateway out, which makes the calls of sagas and of routes.",
        "Add `gateway`.",
        "desk: { implements: [shop.v1.DeskService], callers: [order] }",
        DESK,
    )


SECTIONS = (Section("Who may call what: SG300 to SG319", (*_rules(), *_schemes(), *_limits())),)
