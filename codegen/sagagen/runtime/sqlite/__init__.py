"""A SQLite file behind one thread.

What lives here: the connection that the saga log and every service's state use (`database`), the way to its thread
(`thread`, and `queued`, which is quicker and leans on a private name of aiosqlite), and one owner at a time for a file
(`lock`). What may not: any table. Which statements run is decided in `log/` and `service/`.

The public face is `database.Database` with its errors, and `lock.OwnerLock`.
"""
