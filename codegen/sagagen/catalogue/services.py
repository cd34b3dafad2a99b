"""Codes about services, triggers and routes."""

from collections.abc import Iterator

from sagagen.catalogue.entry import PROTO, Entry, Section

DESK = "implements: [shop.v1.DeskService]"
RETURN = "trigger: shop.v1.CheckoutService/ReturnOrder"


def _services() -> Iterator[Entry]:
    yield Entry(
        "SG020",
        "`implements` names a service that no proto declares.",
        "Correct the full name, or declare it.",
        "implements: [shop.v1.PaymentServce]",
        "implements: [shop.v1.PaymentService]",
    )
    yield Entry("SG021", "A service implements nothing.", "Name a proto service.", "implements: []", DESK)
    yield Entry(
        "SG022",
        "Two services implement one proto service.",
        "Leave it to one.",
        "implements: [shop.v1.DeskService, shop.v1.OrderService]",
        DESK,
    )
    yield Entry(
        "SG023",
        "`methods` has a setting for an rpc that the service does not have.",
        "Correct or remove it.",
        "methods: { ChargePayments: { transaction: manual } }",
        "methods: { ChargePayment: { transaction: manual } }",
    )
    yield Entry(
        "SG024",
        "A service has a streaming rpc. The mesh serves only unary rpcs, so this one stays unimplemented, and its "
        "HTTP route, if it has one, is left out.",
        "Make it unary, or move it to a proto service that no service of the mesh implements.",
        "rpc CountStock(Nothing) returns (stream Nothing);",
        "rpc CountStock(Nothing) returns (Nothing);",
        PROTO,
        is_warning=True,
    )
    yield Entry(
        "SG025",
        "One handler class would have two methods of the same name, for rpcs of two proto services.",
        "Let two services implement them, or rename an rpc.",
        "implements: [shop.v1.DeskService, shop.v1.AuditService]",
        DESK,
    )
    yield Entry(
        "SG026",
        "`transaction: manual` on a read (NO_SIDE_EFFECTS, or `read: true`), which has no transaction.",
        "Remove the setting.",
        "order: { implements: [shop.v1.OrderService], methods: { GetOrder: { transaction: manual } } }",
        "order: { implements: [shop.v1.OrderService] }",
    )
    yield Entry(
        "SG027",
        "A service has a name that is taken: `http`, `grpc`, `admin` (environment variables), `gateway` (a process), "
        "`redis`, `prometheus`, `tempo`, `loki`, `grafana` (the stack), or one of more than 63 characters, which is no "
        "host name.",
        "Rename it.",
        f"http: {{ {DESK} }}",
        f"desk: {{ {DESK} }}",
    )
    yield Entry(
        "SG028",
        "A service with several replicas that can be on SQLite only. Its handlers' data and its barrier are in one "
        "file with one owner: the file's lock would refuse a second process.",
        "Write handlers/<service>.postgres.sql, so that it can be on PostgreSQL, or remove the setting.",
        f"desk: {{ {DESK}, replicas: 3 }}",
        f"desk: {{ {DESK} }}",
    )


def _triggers() -> Iterator[Entry]:
    yield Entry(
        "SG030",
        "No proto declares the trigger.",
        "Name an rpc that exists, as package.Service/Method.",
        "trigger: shop.v1.CheckoutService/ReturnOrdr",
        RETURN,
    )
    yield Entry(
        "SG031",
        "A service implements the trigger, so that both the service and the saga would answer it.",
        "Use an rpc that no service implements.",
        "trigger: shop.v1.OrderService/NotifyCustomer",
        RETURN,
    )
    yield Entry(
        "SG032",
        "Two sagas have the same trigger.",
        "Give each saga its own rpc.",
        "trigger: shop.v1.CheckoutService/PlaceOrder",
        RETURN,
    )
    yield Entry(
        "SG033",
        "The trigger is a streaming rpc.",
        "Name a unary rpc.",
        "trigger: shop.v1.FeedService/WatchOrders",
        RETURN,
    )
    yield Entry(
        "SG034",
        "The trigger is marked NO_SIDE_EFFECTS, but a saga has effects.",
        "Remove the mark.",
        "trigger: shop.v1.FeedService/TrackOrder",
        RETURN,
    )
    yield Entry(
        "SG035",
        "The trigger has no HTTP route, so nothing can start the saga.",
        "Add `option (google.api.http)`.",
        "rpc ReturnOrder(OrderId) returns (Nothing);",
        'rpc ReturnOrder(OrderId) returns (Nothing) {\n    option (google.api.http) = {post: "/returns"};\n  }',
        PROTO,
        is_warning=True,
    )


def _routes() -> Iterator[Entry]:
    yield Entry(
        "SG040",
        "A path template is malformed (google/api/http.proto).",
        "Write a path like `/orders/{order_id}`.",
        'get: "/reports/{report_id"',
        'get: "/reports/{report_id}"',
        PROTO,
    )
    yield Entry(
        "SG041",
        "A path variable is not a field of the request.",
        "Name a field; write `{order.id}` for a field of a nested message.",
        'get: "/shelves/{shelf}"',
        'get: "/shelves/{shelf_id}"',
        PROTO,
    )
    yield Entry(
        "SG042",
        "A path variable cannot be written as a single text: it is repeated, a map or a message.",
        "Name a scalar, an enum or a well-known type with a textual form.",
        'get: "/crates/{tags}"',
        'get: "/crates/{crate_id}"',
        PROTO,
    )
    yield Entry(
        "SG043",
        "`body` names a field that the request does not have.",
        "Name a field, or `*`.",
        'body: "parcl"',
        'body: "parcel"',
        PROTO,
    )
    yield Entry(
        "SG044",
        "`response_body` names a field that the response does not have.",
        "Name a field, or remove it.",
        'response_body: "ordr"',
        'response_body: "order"',
        PROTO,
    )
    yield Entry(
        "SG045",
        "A GET route for a write.",
        "Use another verb. If the rpc only reads, mark it NO_SIDE_EFFECTS; if the proto is not yours, say so in "
        "saga.yaml: `methods: { GetRates: { read: true } }` of the service that implements it.",
        'get: "/restocks"',
        'post: "/restocks"',
        PROTO,
    )
    yield Entry(
        "SG046",
        "A path that the gateway uses itself: /sagas, /healthz, /readyz, /metrics, /openapi.json, /docs.",
        "Begin the path with a different word.",
        'get: "/sagas/overview"',
        'get: "/overview"',
        PROTO,
    )
    yield Entry(
        "SG047",
        "Two routes that match the same requests: same verb, same shape of path.",
        "Change one of them.",
        'post: "/lists/{name}/open"',
        'post: "/lists/{name}/close"',
        PROTO,
    )
    yield Entry(
        "SG048",
        "A GET or DELETE route with a body.",
        "Remove it: the other fields come from the query.",
        'get: "/search" body: "*"',
        'get: "/search"',
        PROTO,
    )
    yield Entry(
        "SG049",
        "A rule without a verb and path, with a custom verb, or nested twice.",
        "Use get, put, post, delete or patch.",
        'custom: {kind: "HEAD" path: "/labels"}',
        'put: "/labels"',
        PROTO,
    )
    yield Entry(
        "SG050",
        "Nothing answers routes of a proto service: no service implements it, and the rpcs trigger no saga. "
        "These routes are left out, whatever is wrong with them.",
        "Implement the proto service, let the rpcs trigger sagas, or leave it, if the proto is somebody else's.",
        'rpc PeekOrder(OrderId) returns (Order) {\n    option (google.api.http) = {post: "/peeks"};\n  }',
        "rpc PeekOrder(OrderId) returns (Order);",
        PROTO,
        is_warning=True,
    )
    yield Entry(
        "SG051",
        "`limits.body` names an rpc that has no route with a body.",
        "Correct or remove it.",
        "limits: { body: { shop.v1.CheckoutService/PlaceOrdr: 64KiB } }",
        "limits: { body: { shop.v1.CheckoutService/PlaceOrder: 64KiB } }",
    )
    yield Entry(
        "SG052",
        "`limits.body` lets a trigger take more than 64KiB, and its request has texts, lists or maps without an upper "
        "bound. The saga log keeps a request several times, for as long as the saga's answer is kept.",
        "Bound them (`max_len`, `max_items`, `max_pairs` of buf.validate), or lower the limit.",
        "limits: { body: { shop.v1.CheckoutService/PlaceOrder: 256KiB } }",
        "limits: { body: { shop.v1.CheckoutService/PlaceOrder: 64KiB } }",
        is_warning=True,
    )


SECTIONS = (
    Section("Services: SG020 to SG029", tuple(_services())),
    Section("Triggers: SG030 to SG039", tuple(_triggers())),
    Section("HTTP routes: SG040 to SG059", tuple(_routes())),
)
