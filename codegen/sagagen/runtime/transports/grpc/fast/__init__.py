"""The quick way over gRPC: shorter than grpclib's and h2's own, by names that those libraries keep to themselves.

`frames` and `headers` (switch `h2`) take the place of h2's connection; `protocol`, `streams`, `channel` and `server`
(switch `grpclib`) that of grpclib's. Nothing outside of this package knows of them but `transports.grpc.client`
and `transports.grpc.server`, which import them only where SAGAGEN_PLAIN does not ask for the libraries' own.
"""
