"""How processes of one mesh know each other: certificates with SPIFFE names, and MACs of a key that they share.

What lives here decides whom a process believes, reads the files that it decides by, and notices when they change. What
is sent over a connection is the transports' business. Nothing here knows sagas, HTTP paths or databases, and nothing of
it is imported where the environment asks for none of it.
"""
