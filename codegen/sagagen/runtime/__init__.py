"""What generated code and handlers import. Nothing in here knows the generator."""
