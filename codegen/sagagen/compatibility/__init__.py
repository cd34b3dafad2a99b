"""The contract diff: what a change breaks, on the wire, at the edge, and for open sagas.

    baseline (git, disk) -> two contracts -> compare (pure) -> changes -> weigh (open sagas, waivers) -> report

A rule is data (`rules`); what finds it is a pure function over the two contracts (`sagas`, `steps`, `edge`, `services`,
`options`). buf compares the protos (`protos`).
"""
