"""The contract diff: what a change breaks on the wire, at the edge, and for open sagas.

    baseline (git, disk) -> two contracts -> compare (pure) -> changes -> weigh (open sagas, waivers) -> report

A rule is data (`rules`, one module an idea). Pure functions over the two contracts find changes (`sagas`, `steps`,
`edge`, `services`, `options`), and buf compares the protos (`protos`). Nothing here prints, or reads a saga log: that
is the CLI's part.
"""
