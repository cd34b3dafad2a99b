"""New projects: copies a template to a folder that runs, and passes its own tests. The generator fills in the rest."""
