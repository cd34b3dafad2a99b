"""The HTTP server of a process, on uvicorn.

What lives here: the server (`server`), how large a request may be and how long it may take (`limits`), how many
connections there may be (`connections`), what is on its way to a client (`outgoing`), and uvicorn's connection with an
end to every wait (`protocol`, which leans on what uvicorn does not document) on a parser that ignores offers of other
protocols (`offers`). What may not: routes.

The public face is `server.serve_http`.
"""
