"""Ways to a service: in memory, and over gRPC.

What lives here: implementations of `rpc.transport.Transport` (`memory`, `grpc.client`), the server on the other side
(`grpc.server`), and what is measured of calls (`observation`). `grpc.fast` has quicker ways that lean on private names
of grpclib and h2. What may not: what a call means to a saga or to a barrier. One conformance suite tries all of them.

The public face is `memory.MemoryTransport`, `grpc.client.GrpcTransport`, `grpc.server.serve_grpc` and
`observation.ObservedTransport`.
"""
