"""What runs in one process, and how it is put together.

What lives here: the choice (`choice.process`) of everything at once (`embedded`), the gateway with its engine
(`gateway`) or one service (`service`); the project on disk (`project`); the parent of a local mesh (`supervisor`); and
how a process listens and ends (`listening`, `stopping`). What may not: anything that another room could know without
the whole. This is the top: nothing in the runtime imports it.

The public face is `choice.process`, `project.Project`, `supervisor` and `stopping.end_within`; `cli/up.py` uses them.
"""
