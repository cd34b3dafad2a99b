"""The saga log on PostgreSQL, which several gateways share.

Everything here needs asyncpg (`pip install 'sagagen[postgres]'`), and is imported only where `SAGAGEN_ENGINE_URL` names
a PostgreSQL. What a row means is `saga/`'s, and when one is written `engine/`'s, as with the log in a file.
"""
