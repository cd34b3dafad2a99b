"""From a contract (protos and saga.yaml) to a mesh of services that ends everywhere or is undone everywhere."""

__version__ = "0.1.0"
