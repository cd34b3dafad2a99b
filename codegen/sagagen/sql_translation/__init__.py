"""SQL of SQLite as PostgreSQL takes it: drafts a service's SQL files, and looks over its handlers' statements.

Text is edited in place, word by word, so that comments and layout stay as their author left them. What the tables are
is asked from SQLite itself, which runs the file in memory first. What has no counterpart stays as a comment, below a
line that begins with `-- sagagen:` and says what to do. Nothing of the contract is known here.
"""
