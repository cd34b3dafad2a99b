"""Sagas on Restate: the engine where one machine is not enough.

`sagas.py` is the gateway's half: it implements `SagaRuntime` and needs no disk. `adapter.py` is the other half: an
HTTP/2 endpoint that Restate calls, which drives sagas with the engine's own driver. `workflow.py` is what is between
them: the rules by which a saga's rows are kept in the journal of a Restate workflow.

Only `process/` imports this room, where SAGAGEN_ENGINE_URL says so; the extra `sagagen[restate]` brings what it needs.
"""
