"""What the barrier says of another run, in ErrorInfo.metadata."""

OTHER_PAYLOAD = "other-payload"
"""`true` if the run that owns the saga sent another request in this step."""
OWNER_RUN = "owner-run"
"""The run that owns the saga."""
