"""Where the generator writes, relative to the project's root. Imports nothing: who only looks should pay nothing."""

GENERATED = "generated"
MANIFEST = f"{GENERATED}/manifest.json"
HANDLERS = "handlers"
GATEWAY = "gateway"
