"""The engine: accepts sagas, drives each to its end, and goes on after a restart where the last process stopped.

What lives here: the port (`port`), the engine that runs in a gateway's process on a saga log (`embedded`) with the
driver of one saga (`driver`) and what it needs (`acceptance`, `calls`, `requests`, `time`), the same sagas for an
operator while no engine runs (`at_rest`), and what is measured of them (`row_metrics`, `spans`, `gauges`). What may
not: what a saga does next (`saga/` decides that, purely), how rows reach a disk (`log/`), HTTP, and what a service
makes of a call.

The public face is `port`: `SagaRuntime`, its operators' half `SagaControl`, and their values and errors. `process/`
alone names an implementation.
"""
