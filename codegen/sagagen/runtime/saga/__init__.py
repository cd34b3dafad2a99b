"""The pure core: what happened to a saga, and what follows from it.

What lives here: the rows (`events`), their fold (`history`), the decision (`decision`) with the wait before a repeat
(`retry`), the result that answers whoever started the saga (`result`), which definition a saga runs on (`definitions`),
what an operator may do (`commands`), how a saga is shown (`view`, `explain`) and looked for (`search`), the port that
rows are written to (`journal`), and rows as bytes (`codec`, `history_messages`, `history.proto`).

What may not: I/O, a clock, randomness, metrics, HTTP. Each function gives the same for the same arguments, so that
recovery is no second code path, and every engine can use all of it.
"""
