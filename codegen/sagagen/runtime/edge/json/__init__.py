"""ProtoJSON, as Google writes it, with the path of every mistake.

What lives here: JSON to messages and back (`protojson`), by functions made for each message type: `validators` find
what is wrong (`findings`), `fillers` make the message, `encoders` write one; `scalars`, `numbers` and `texts` are for
single values. What may not: HTTP, routes, and what a request means.

The public face is `protojson`; `encoders.JsonEncoders` and `validators.JsonValidators` are for routes that are made.
"""
