"""PostgreSQL as this project uses it: connections, and what a server has to promise.

Everything here needs asyncpg (`pip install 'sagagen[postgres]'`), and is imported only where a URL says so. What is
kept in a database is not this room's: services' tables and barriers are `service/postgres_store/`'s, sagas
`postgres_log/`'s.
"""
