"""Tests of a project: its real edge, engine, log, barrier and handlers in one process, on virtual time.

What lives here: the loop on virtual time (`virtual_time`), databases in memory (`databases`), faults (`faults`), and a
mesh of processes (`world`). It may import all of the runtime, and nothing of the generator; nothing of the runtime
imports it.
"""
