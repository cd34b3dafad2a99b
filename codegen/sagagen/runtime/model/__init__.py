"""What the contract says, as data. Generated code builds these values; engine, services and edge read them.

No I/O and no behaviour lives here, and nothing that depends on a transport, a store or a clock.
"""
