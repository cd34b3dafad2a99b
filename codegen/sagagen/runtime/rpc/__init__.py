"""What both ends of a call agree on: errors, metadata, trace context, limits, and the transport port.

Nothing here opens a connection or a file: `transports` does that, in memory and over gRPC.
"""
