"""The shape of saga.yaml's `security` section: who may call what, and how much."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from sagagen.contract.codes import Code
from sagagen.contract.known_keys import Shape, Whole, Word, optional
from sagagen.contract.located import Block, Items, Key, Located
from sagagen.contract.words import (
    AnyKey,
    Expression,
    NameKey,
    Reads,
    Size,
    Text,
    one_of,
    scalar_of,
    text_of,
    whole,
    words,
    wrong,
)
from sagagen.source import Scalar

PUBLIC = "public"
"""The rule of a route that anybody may call."""
NONE = "none"
"""In place of the section: the contract says nothing of who may call, and that is meant."""
TAGS = frozenset({"<oidc>", "<api_key>", "<rule>", "<section>", "<default>"})
"""Pydantic puts these into the path of an error; they are not keys."""
ALGORITHMS = (
    "ES256",
    "ES384",
    "ES512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "EdDSA",
    "Ed25519",
)
"""JWS algorithms with a public key (RFC 7518, 3.1; RFC 8037; RFC 9864)."""
CLAIM_TYPES = ("string", "bool", "int", "list(string)")
FOUR_EYES = ("resolve", "skip")
MAX_RATE = 1_000_000

_RATE = re.compile(r"([0-9]{1,7})/(s|m|h)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749, 3.3."""
_CLAIM = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9._-]{0,253}[a-z0-9])?")
"""The SPIFFE ID standard, 2.1: lower case letters, digits, dots, hyphens and underscores."""


def _rate(value: object) -> Located[float]:
    scalar = scalar_of(value, "a rate like 50/s")
    parts = _RATE.fullmatch(scalar.text)
    if not parts:
        hint = f"say in which time: {scalar.text}/s" if scalar.tag == "int" else "write it like 50/s or 300/m"
        raise wrong(Code.BAD_RATE, f'"{scalar.text}" is not a rate', hint)
    if not 1 <= int(parts[1]) <= MAX_RATE:
        raise wrong(Code.OUT_OF_RANGE, f"{scalar.text} is out of range", f"from 1 to {MAX_RATE}")
    return Located(int(parts[1]) / _SECONDS[parts[2]], scalar)


def _scope(value: object) -> Located[str]:
    located = text_of(value)
    if not _SCOPE.fullmatch(located.value):
        hint = (
            "write each scope as an item of its own, without blanks and quotes: [orders.read, orders.write]"
        )
        raise wrong(Code.BAD_NAME, f'"{located.value}" cannot be a scope', hint)
    return located


def _claim(value: object) -> Key:
    assert isinstance(value, Key)
    if not _CLAIM.fullmatch(value):
        message = f'"{value}" cannot be read as claims.<name>'
        hint = "name a claim of letters, digits and underscores; the provider can map others to it"
        raise wrong(Code.BAD_NAME, message, hint)
    return value


def _domain(value: object) -> Located[str]:
    located = text_of(value)
    if not _DOMAIN.fullmatch(located.value):
        hint = "write it like shop.example: lower case, without spiffe:// and without a path"
        raise wrong(Code.BAD_NAME, f'"{located.value}" cannot be a trust domain', hint)
    return located


def _algorithm(value: object) -> Located[str]:
    located = text_of(value)
    if located.value.lower() == "none" or located.value.upper().startswith("HS"):
        why = (
            "anybody can make a token without a signature"
            if located.value.lower() == "none"
            else "who checks such a token knows the secret that makes them"
        )
        raise wrong(
            Code.ALGORITHM_REFUSED, f'"{located.value}" is never believed: {why}', "use ES256 or RS256"
        )
    return one_of(ALGORITHMS, value)


def _filled(value: object) -> Located[str]:
    located = text_of(value)
    if not located.value.strip():
        raise wrong(Code.WRONG_SHAPE, "an empty text says nothing here", "write it out, or remove the key")
    return located


def _not_empty(value: object) -> object:
    """A list whose items were all cut out was reported before."""
    if isinstance(value, Items) and not value and not value.removed:
        raise wrong(
            Code.WRONG_SHAPE, "an empty list says nothing here", "name at least one, or remove the key"
        )
    return value


Rate = Annotated[Located[float], Reads(_rate, {"type": "string", "pattern": "^[1-9][0-9]{0,6}/(s|m|h)$"})]
"""Requests in a second."""
Scope = Annotated[Located[str], Reads(_scope, {"type": "string", "pattern": r"^[^\s\"\\]+$"})]
ClaimKey = Annotated[Key, Reads(_claim, {"type": "string", "pattern": f"^{_CLAIM.pattern}$"})]
Domain = Annotated[Located[str], Reads(_domain, {"type": "string", "pattern": f"^{_DOMAIN.pattern}$"})]
Algorithm = Annotated[Located[str], Reads(_algorithm, {"type": "string", "enum": list(ALGORITHMS)})]
Filled = Annotated[Located[str], Reads(_filled, {"type": "string", "pattern": r"\S"})]
NOT_EMPTY = BeforeValidator(_not_empty), Field(json_schema_extra={"minItems": 1})
Scopes = Annotated[list[Scope], *NOT_EMPTY]
SchemeNames = Annotated[list[Text], Field(json_schema_extra={"minItems": 1})]


def _scheme_type(only: str) -> Reads:
    return Reads(lambda value: one_of(("oidc", "api_key"), value), {"type": "string", "enum": [only]})


class OidcShape(Shape):
    """A caller shows a token (JWT) of an OpenID provider: `Authorization: Bearer ...`."""

    type: Annotated[Word, _scheme_type("oidc")] = Field(description="oidc.", examples=["oidc"])
    issuer: Annotated[Text, Field(json_schema_extra={"pattern": "^https?://"})] = Field(
        description="The provider's URL, as tokens have it in iss; "
        "/.well-known/openid-configuration below it says where the keys are.",
        examples=["https://id.example"],
    )
    audience: Filled = Field(description="What tokens must have in aud.", examples=["shop"])
    algorithms: Annotated[list[Algorithm], *NOT_EMPTY] | None = optional(
        "Signatures that are believed. Default: ES256 and RS256.", example=["ES256", "RS256"]
    )
    caller: Filled | None = optional("The claim that is the caller's id.", "sub")
    claims: dict[ClaimKey, Annotated[Word, words(*CLAIM_TYPES)]] | None = optional(
        "Claims that expressions and handlers may read, and their types. "
        "What a token lacks is the empty text, false, 0 or the empty list.",
        example={"tenant": "string", "groups": "list(string)"},
    )


class ApiKeyShape(Shape):
    """A caller shows a key in a header of its own. The caller's id is the key's name."""

    type: Annotated[Word, _scheme_type("api_key")] = Field(description="api_key.", examples=["api_key"])
    header: Annotated[Text, Field(json_schema_extra={"pattern": r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"})] = Field(
        description="The header that has the key.", examples=["X-Api-Key"]
    )


def _scheme_kind(value: object) -> str:
    """By `type`; where that is missing or unknown, by the other keys."""
    if not isinstance(value, Block):
        return "<oidc>"
    said = value.get("type")
    kind = said.text if isinstance(said, Scalar) else ""
    is_key = kind == "api_key" or (kind != "oidc" and "header" in value)
    return "<api_key>" if is_key else "<oidc>"


SchemeShape = Annotated[
    Annotated[OidcShape, Tag("<oidc>")] | Annotated[ApiKeyShape, Tag("<api_key>")],
    Discriminator(_scheme_kind),
]


class DefaultAccessShape(Shape):
    """The callers of every route without a rule."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_a_word(cls, value: object) -> object:
        if not isinstance(value, Scalar) or value.tag == "null":
            return value
        if value.text == PUBLIC:
            message = "a route is public only if its own rule says so"
            raise wrong(Code.WRONG_SHAPE, message, "write public at each such route, under security.routes")
        message = "the schemes of the default are expected here"
        raise wrong(Code.WRONG_SHAPE, message, f"write default: {{ any_of: [{value.text}] }}")

    any_of: SchemeNames = Field(
        description="Names of schemes, one of which has to know the caller.", examples=[["customers"]]
    )


class RuleShape(Shape):
    """The callers that a route takes."""

    any_of: SchemeNames | None = optional(
        "Names of schemes, one of which has to know the caller. Default: those of security.default.",
        example=["partners"],
    )
    scopes: Scopes | None = optional("What the caller needs, all of it.", example=["orders.read"])
    allow: Expression | None = optional(
        "A condition over request, caller and claims, and for reads response; "
        "false answers 404 to a read, and 403 to a write.",
        example="response.order.customer_id == caller",
    )


def _is_word(value: object) -> bool:
    return isinstance(value, Scalar) and value.tag != "null"


def _rule_kind(value: object) -> str:
    return "<word>" if _is_word(value) else "<rule>"


class TrustShape(Shape):
    """How the processes of the mesh know each other."""

    trust_domain: Domain | None = optional(
        "SPIFFE trust domain of their certificates. Default: the project's name.", example="shop.example"
    )


class AdminShape(Shape):
    """What operators need on the admin listener: scopes of the same schemes."""

    viewer: Scopes = Field(description="Scopes that let somebody look.", examples=[["ops.read"]])
    operator: Scopes = Field(
        description="Scopes that let somebody give commands, and look.", examples=[["ops.write"]]
    )
    four_eyes: list[Annotated[Word, words(*FOUR_EYES)]] | None = optional(
        "Commands that a second operator has to confirm.", example=["resolve", "skip"]
    )


class CallerLimitsShape(Shape):
    """How much one caller may do: by id, and by address where the caller is anonymous."""

    rate: Rate | None = optional(
        "Requests in a second, minute or hour; anything more gets 429. Default: as many as fit.",
        example="50/s",
    )
    burst: Annotated[Whole, whole(1, MAX_RATE)] | None = optional(
        "Requests that may come at once. Default: those of a second.", example=100
    )
    running: Annotated[Whole, whole(1, 1_000_000)] | None = optional(
        "Active sagas. Default: as many as fit.", example=200
    )


class ConnectionsShape(Shape):
    """Connections of HTTP clients."""

    total: Annotated[Whole, whole(1, 1_000_000)] | None = optional("Of all of them.", 2_000)
    per_address: Annotated[Whole, whole(1, 1_000_000)] | None = optional(
        "From one address that SAGAGEN_TRUSTED_PROXIES does not name.", 200
    )


class SecurityLimitsShape(Shape):
    """How much is taken from one side."""

    per_caller: CallerLimitsShape | None = optional("Of one caller.")
    body: Size | None = optional(
        "How large a request's body may be: another place for limits.body.default.", "64KiB"
    )
    connections: ConnectionsShape | None = optional(
        "How many: another place for limits.max_connections and limits.max_connections_per_address."
    )


class CorsShape(Shape):
    """Which web pages may call the gateway from a browser."""

    origins: Annotated[list[Text], *NOT_EMPTY] = Field(
        description="Their origins: scheme, host and port, as browsers send them.",
        examples=[["https://shop.example"]],
    )


class SecuritySection(Shape):
    """Which callers may do what. Once it is there, each route has a rule, or a default."""

    schemes: Annotated[dict[NameKey, SchemeShape], Field(json_schema_extra={"minProperties": 1})] | None = (
        optional("How callers are known, by name.")
    )
    default: DefaultAccessShape | None = optional(
        "Who may call a route without a rule, and the gateway's own routes of sagas.",
        example={"any_of": ["customers", "partners"]},
    )
    routes: (
        dict[
            AnyKey,
            Annotated[
                Annotated[Word, words(PUBLIC), Tag("<word>")] | Annotated[RuleShape, Tag("<rule>")],
                Discriminator(_rule_kind),
            ],
        ]
        | None
    ) = optional(
        "Rules of routes, by rpc: package.Service/Method. public: anybody may call it.",
        example={"shop.inventory.v1.InventoryService/GetStock": "public"},
    )
    mesh: TrustShape | None = optional("How the processes of the mesh know each other.")
    admin: AdminShape | None = optional("What operators need on the admin listener.")
    limits: SecurityLimitsShape | None = optional("How much is taken from one side.")
    cors: CorsShape | None = optional("Which web pages may call the gateway from a browser.")


def _section_kind(value: object) -> str:
    return "<word>" if _is_word(value) else "<section>"


SecurityShape = Annotated[
    Annotated[Word, words(NONE), Tag("<word>")] | Annotated[SecuritySection, Tag("<section>")],
    Discriminator(_section_kind),
]
