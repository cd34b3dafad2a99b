"""What a difference in who may call means: to clients that are refused, and to whoever must not get in."""

from sagagen.compatibility.change import ChangeSeverity, Rule
from sagagen.compatibility.rules.recipes import KEEP

_B, _W, _S = ChangeSeverity.BREAKING, ChangeSeverity.WARNING, ChangeSeverity.SAFE
_APPROVE = "have it approved, and say who did in a waiver's `reason`"

AUTH_ADDED = Rule(
    "SD801",
    _B,
    "a route asks who calls",
    "clients without credentials get 401",
    "give clients keys or tokens and let them send these first: a route that is public takes no notice of them",
)
AUTH_REMOVED = Rule(
    "SD802", _B, "a route became public", "security: whoever reaches the gateway may call it", _APPROVE
)
ROUTE_SCHEME_ADDED = Rule(
    "SD803", _B, "a route takes one more scheme", "security: callers get in that did not", _APPROVE
)
ROUTE_SCHEME_REMOVED = Rule(
    "SD804",
    _B,
    "a route no longer takes a scheme",
    "clients that use it get 401",
    "let clients use another scheme of the route first",
)
SCOPE_ADDED = Rule(
    "SD805",
    _B,
    "a route needs one more scope",
    "clients without it get 403",
    "give clients the scope first, in tokens and in the keys file",
)
SCOPE_REMOVED = Rule(
    "SD806", _B, "a route needs one scope less", "security: callers get in that did not", _APPROVE
)
OWNER_RULE_ADDED = Rule(
    "SD807",
    _B,
    "`allow` added to a route",
    "callers for whom it does not hold get 404 (a read) or 403",
    "tell clients first",
)
OWNER_RULE_REMOVED = Rule(
    "SD808", _B, "`allow` removed from a route", "security: a caller gets at what is another's", _APPROVE
)
OWNER_RULE_CHANGED = Rule(
    "SD809",
    _B,
    "`allow` of a route changed",
    "security: somebody gets in who could not, or somebody who could gets 404 or 403",
    f"tell clients first, and {_APPROVE}",
)
SECURITY_REMOVED = Rule(
    "SD810",
    _B,
    "section `security` removed",
    "security: every route is open to whoever reaches the gateway, and callers are no longer known",
    "keep it; a route that is meant for everybody is `public`",
)
SCHEME_RETYPED = Rule(
    "SD811",
    _B,
    "a scheme has another type",
    "clients that use it get 401, and callers have other ids",
    "add a scheme beside it, move clients, then remove the old one",
)
ISSUER_CHANGED = Rule(
    "SD812",
    _B,
    "a scheme believes another issuer or audience",
    "tokens that clients have get 401; and an id of the new issuer may be another person's id of the old one",
    "add a scheme for the new issuer beside the old one, move clients, then remove the old one",
)
CALLER_CHANGED = Rule(
    "SD813",
    _B,
    "a caller's id comes from another claim",
    "it is part of each saga's id: a retry across the deployment is a new saga, and no caller finds its own",
    "add a scheme beside it, and move clients once their sagas have ended",
)
HEADER_RENAMED = Rule(
    "SD814",
    _B,
    "the header of API keys renamed",
    "clients send their key where nobody looks, and get 401",
    "add a scheme with the new header beside the old one, move clients, then remove the old one",
)
ALGORITHM_ADDED = Rule(
    "SD815", _W, "a scheme believes one more algorithm", "security: more keys of the issuer are good", ""
)
ALGORITHM_REMOVED = Rule(
    "SD816",
    _B,
    "a scheme no longer believes an algorithm",
    "tokens that are signed by it get 401",
    "let the issuer sign by another one first, and wait until the last of the old tokens has expired",
)
CLAIM_ADDED = Rule("SD821", _S, "a claim added", "callers whose tokens lack it have its default", "")
CLAIM_REMOVED = Rule(
    "SD822",
    _B,
    "a claim removed",
    "handlers that ask for it in `call.claims` fail; services are no longer told",
    "remove it from handlers first",
)
CLAIM_RETYPED = Rule(
    "SD823",
    _B,
    "a claim has another type",
    "tokens hold the old type, and so does the log of open sagas",
    "add a claim with a new name, and remove the old one once no saga is open that has it",
)
CLAIM_READ = Rule(
    "SD824",
    _B,
    "a new claim is read by a saga",
    "open sagas were accepted without it: they read its default",
    KEEP,
    True,
)
SERVICE_CALLER_ADDED = Rule(
    "SD831", _B, "a service may be called by one more", "security: a process gets in that did not", _APPROVE
)
SERVICE_CALLER_REMOVED = Rule(
    "SD832",
    _B,
    "a service may be called by one less",
    "its calls are refused: handlers that still make them fail, and sagas turn back or get STUCK",
    "deploy without the calls first, then remove the caller",
)
TRUST_DOMAIN_CHANGED = Rule(
    "SD833",
    _B,
    "the trust domain changed",
    "certificates of the old domain are refused, so old and new processes can't call each other",
    "stop the mesh, give each process a certificate of the new domain, and start it",
)
OPERATORS_ADDED = Rule(
    "SD841", _W, "operators need a scope", "whoever lacks it gets 403 on the admin listener", ""
)
OPERATORS_LOOSENED = Rule(
    "SD842",
    _B,
    "operators need one scope less, or none",
    "security: more people see sagas, or end them",
    _APPROVE,
)
FOUR_EYES_ADDED = Rule(
    "SD843", _W, "a command needs a second operator", "it waits until somebody confirms it", ""
)
FOUR_EYES_REMOVED = Rule(
    "SD844", _B, "a command needs no second operator", "security: one person alone can give it", _APPROVE
)
ORIGINS_WIDENED = Rule(
    "SD851", _B, "pages of one more origin may call", "security: it acts for whoever opens it", _APPROVE
)
ORIGINS_NARROWED = Rule(
    "SD852",
    _B,
    "pages of an origin may no longer call",
    "browsers refuse what its pages ask for",
    "move the pages first",
)
CALLER_LIMITS_LOWERED = Rule(
    "SD861", _W, "limits of a caller lowered", "callers get 429 more often", "tell clients first"
)
CALLER_LIMITS_REMOVED = Rule(
    "SD862",
    _B,
    "a limit of callers removed",
    "security: one caller may take all that the gateway has",
    "raise it instead",
)
SUBJECT_CHANGED = Rule(
    "SD871",
    _B,
    "whose data a saga holds is said differently, or no longer",
    "security: `sagagen forget` erases other data than before, or none; what was accepted before keeps its subject",
    _APPROVE,
)
SUBJECT_ADDED = Rule("SD872", _S, "a saga says whose data it holds", "it holds from now on", "")
