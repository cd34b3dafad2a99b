"""The console: pages for operators, on the admin listener of a gateway.

What lives here: pages and forms (`views/`, one module and one template of the same name in `templates/`), who is let in
to them (`door`, `sessions`, by the gate of `admin/`), how they are laid out (`rendering`, `static/`), and how an open
page learns of changes (`live`). What may not: what operators see and may do (`admin/operations`, `admin/orders`), which
sagas there are (`engine/port`). Nothing here runs, and nothing is imported but `mount`, before somebody opens a page.

How to add a view:

1. `views/NAME.py` has `async def look(visit: Visit) -> Page`, and `VIEW = View("NAME", "Title", "/path", look)`.
   `visit.desk` has what there is to see (orders, operations, mesh), `visit.asked` the parameters of the URL. It raises
   what `admin/` raises (UnknownSaga, BadOrder, JournalUnavailable, ...): that becomes a page with the right status.
2. `templates/NAME.html` begins with `{% extends "base.html" %}` and fills the block `content`; the values of its Page
   are its names. Filters: `shown` (texts of others: control characters as text), `ago` and `time` (ISO times), `status`
   (a status with its icon), `number`. No `style=` and no inline script: the Content-Security-Policy forbids both.
   `base.html` shows `Page.command` as the command line that does the same.
3. `views/__init__.py` names VIEW in VIEWS, in the order of the navigation.
4. A form is a `Form("/path", "what the audit calls it", take)` in the module's FORMS, named there too; in the template
   it is `<form method="post">` with `{{ csrf() }}` as its first line, after
   `{% from "parts.html" import csrf with context %}`. Only operators get it, and only they may see it:
   `{% if visit.may_order %}`.

A page is live by itself: while it is open its view is asked again, and what has changed is sent. A view that does what
may not be repeated (it writes to the audit) has `is_live=False`, or asks `visit.is_again`.
Tests: `tests/console/console_client.py` opens a console on a gateway with sagas in it.
"""
