"""A service: what happens to a call, whatever transport brings it, until its answer is durable.

`host` takes calls from transports, and is the room's face beside `call` (what handlers get). `delivery` is the way of
one call, `manual` that of `transaction: manual` methods; `methods` binds handlers to rpcs, `outcome_cache` answers
repeats, `observation` reports. `barrier` decides, purely. `store` is the port to the service's database, `sqlite_store`
what implements it.

Only `host` names an implementation of the store; delivery and manual know the port. Nothing in here knows sagas as the
engine does, HTTP, or which transport a call came by.
"""
