"""A service's store in a PostgreSQL database, which any number of replicas share.

Everything here needs asyncpg (`pip install 'sagagen[postgres]'`), and is imported only where a service has a
`SAGAGEN_<SERVICE>_DATABASE_URL`. What is decided about a call is `service/barrier`'s, as with every store.
"""
