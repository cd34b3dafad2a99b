"""The HTTP edge of a mesh: the contract's routes, the gateway's own, and what the project adds.

What lives here: `gateway`, the composition root and public face; the endpoints (`start` a saga, `forward` a call,
`own_routes`, `docs_page`); what they share (`exchange`, `answer`, `problem`, `key`); what HTTP makes of a saga's result
(`responder`), and gateways that repeat each other's answers (`shared_answers`); what is measured (`observation`). Rooms
of their own: `http` (the server), `paths` (routes), `transcoding` (requests), `json` (ProtoJSON).

What may not: how sagas run. The edge knows an engine by `engine.port` alone, and services by their transports. Paths,
JSON and problem documents know neither; the generator leans on them.
"""
