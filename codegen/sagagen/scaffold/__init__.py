"""New projects: a template becomes a folder that runs, and passes its own tests."""
