"""Encryption at rest: keys, and what is sealed with them. Asked only where keys are given.

Three levels. A key-encryption key (KEK) is in a file, or in a KMS behind `KeyWrapper`. It wraps the key of a database,
its store key; that wraps a data key for each saga; and a data key seals columns (AES-256-GCM). So a KEK is asked at a
start and never by a saga, and whatever destroys a data key, or the subject's key between the two, erases a saga's data.

`keys` and `given` import no cryptography, so that whoever has no keys loads none. Nothing here knows what a saga is: a
room that keeps a database says which columns it seals, and where they stand.
"""
