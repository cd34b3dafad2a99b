"""Redis as a second memory: speed, never truth.

`pipeline` is the one connection of a process, `seal` tells what was written by us, `observation` is what a lookup
reports. What is kept there and what may be
believed of it is decided by those who use it: a service's outcome cache, and answers shared among gateways. Nothing in
here raises because of Redis, and nothing imports this room but where a Redis URL is set: the library takes a sixth of a
process's start.
"""
