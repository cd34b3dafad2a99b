"""The saga log: the durable record that an engine decides from, in one SQLite file that one process owns.

What lives here: the file (`store.SagaLog`, `schema`, `records`), how rows reach the disk (`group_commit` with its
`commit_states`, `write_queue` and `transaction`), how they are found again (`search`), and what keeps the file whole
and the disk usable (`damage`, `reserve`, `upkeep`, `probe`). What may not: what a row means (`saga/`), when one is
written (`engine/`), and HTTP.

The public face is `store.SagaLog` with what it returns (`LoggedSaga`, `SagaHead`, `SagaRef`), the errors in `errors`,
and `upkeep.upkeep`. Everything else is for this package alone.
"""
