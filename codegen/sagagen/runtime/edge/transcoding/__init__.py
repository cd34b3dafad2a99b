"""From the parts of an HTTP request to the message of an rpc: path variables, query parameters and body.

The rules are those of `google.api.http`, with one strictness: what does not fit is refused with its place, and never
dropped. The public face is `request.RequestReader`; `fields` sets one field from text. Nothing here knows where the
parts come from, nor what the message is for.
"""
