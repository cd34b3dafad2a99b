"""The HTTP edge of `documents`: middleware, hooks, and routes of your own.

`sagagen generate` created this file once; from now on it is yours.
"""

from generated.mesh import MESH
from sagagen.runtime import Gateway

# Who may call what stands in contracts/saga.yaml, under `security`.
gateway = Gateway(MESH)
