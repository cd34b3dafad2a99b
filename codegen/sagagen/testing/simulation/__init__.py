"""Many sagas at once, of made-up inputs and in bad weather; what breaks is shrunk to a short story.

`schedule` says what happens, as a value; `drawing` makes one from a seed, `inputs` the requests in it. `playing` plays
it on a world, `shrinking` makes one that fails smaller, `stories` tells it. `simulation` does that again and again.
"""
