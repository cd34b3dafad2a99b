"""A service's store in one SQLite file.

`store` is the face: SqliteStore, made of a `writer` and some `readers`. `states` is the writer's table, `turn` what it
keeps of a call, `steps` what it does with its connection, and `purge` how it forgets. `table` has the barrier's rows,
`sql_files` the service's own tables. Handlers' statements run through `db`, within what `guard` allows, where `timing`
says.

Whatever knows SQL of the barrier or a connection belongs in here; what a call means does not: that is the barrier's.
"""
