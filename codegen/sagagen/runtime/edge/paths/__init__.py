"""Paths of `google.api.http`: templates (`template`), and the route that a path takes (`router`).

Pure: text in, variables or a reason out. The generator checks a contract's routes by the same code that serves them.
The public face is `template.parse_template`, `router.Router`, and the errors of both.
"""
