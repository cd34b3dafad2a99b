"""The listener of operators: health and metrics of every process, and a gateway's sagas with the commands about them.

What lives here: the routes of the admin listener (`listener` for every process, `routes` for a gateway), who is let in
(`gate`), what operators send (`parsing`), and what they may see and do (`orders`, over `operations`). What may not:
what a command does to a saga (`saga/commands`), how it is carried out (`engine/`), how the audit is kept (`audit/`),
and payloads: only what an order that waits would add is shown, to whoever is to confirm it.

The public face is `listener.admin_app`, `routes.saga_routes` with `routes.SagaAdmin`, `gate`, and `orders.Orders`,
which the command line uses on a log at rest. Nothing is imported here: a service's process needs `listener` alone.
"""
