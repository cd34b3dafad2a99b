"""The listener of operators: health and metrics of every process, and a gateway's sagas with the commands about them.

What lives here: the routes of the admin listener (`listener` for every process, `routes` for a gateway), and what an
operator may see and do over them (`operations`). What may not: what a command does to a saga (`saga/commands`), how it
is carried out (`engine/`), and payloads, which no answer shows.

The public face is `listener.admin_app`, `routes.saga_routes` with `routes.SagaAdmin`, and `operations.SagaOperations`,
which the command line uses on a log at rest. Nothing is imported here: a service's process needs `listener` alone.
"""
