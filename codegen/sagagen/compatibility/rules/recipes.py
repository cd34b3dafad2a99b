"""What to do instead, where many rules say the same."""

KEEP = "raise the saga's version and keep the old one beside it until it has drained (`sagagen bump`)"
DRAIN = "wait until no saga is open (`sagagen sagas list`), or leave it in"
