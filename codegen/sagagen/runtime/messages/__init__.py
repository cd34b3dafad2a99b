"""The contract's messages, as google.protobuf sees them.

What lives here: all of a mesh's message types from its descriptors (`schema`), which of them have rules
(`validation_rules`), an example of each (`example`), and betterproto2's classes described to google.protobuf
(`wire_types`, for `wire.py`). What may not: JSON (`edge/json`) and calls (`rpc/`, `transports/`).

The public face is `schema.Schema`.
"""
