"""The contract's messages, as google.protobuf sees them.

What lives here: all of a mesh's message types from its descriptors (`schema`), which of them have rules
(`validation_rules`), how much a request may hold (`parts`) and where a large one is read (`apart`), an example of each
(`example`), and betterproto2's classes described to google.protobuf (`wire_types`, for `wire.py`). What may not: JSON
(`edge/json`) and calls (`rpc/`, `transports/`).

The public face is `schema.Schema`.
"""
