"""Every row of the failure table, played on the real handlers: `sagagen test --matrix`.

`rows` says which there are, `oracle` how each has to end, `playing` plays one in a world of its own, `checking` says
what does not hold, `snapshots` keeps what was approved, `report` tells it.
"""
