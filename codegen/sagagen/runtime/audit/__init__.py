"""What operators are held to: who did what, who was refused, and orders that wait for a second person.

What lives here: the audit's entries, how they are kept and told (`auditor`), how a flood of refusals is kept small
(`refusals`), and the port of whatever keeps all that (`trail`). What may not: who somebody is (`access/`), what they
may (`admin/`), and payloads: no entry has any.
"""
