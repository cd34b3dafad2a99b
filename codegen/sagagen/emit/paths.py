"""Where the generator writes, relative to the project's root. Imports nothing, so that using it costs nothing."""

GENERATED = "generated"
MANIFEST = f"{GENERATED}/manifest.json"
HANDLERS = "handlers"
GATEWAY = "gateway"
