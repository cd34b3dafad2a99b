"""Service `bank`.

`sagagen generate` created this file once; from now on it is yours.
"""

from grpclib.const import Status

from generated.pb.loan import Loan, Nothing
from generated.services.bank import BankHandlers
from sagagen.runtime import Call, RpcError


class BankService(BankHandlers):
    async def transfer(self, request: Loan, call: Call) -> Nothing:
        """Asks the bank."""
        raise RpcError(Status.UNIMPLEMENTED, "bank.transfer is not written yet")

    async def recall(self, request: Loan, call: Call) -> Nothing:
        raise RpcError(Status.UNIMPLEMENTED, "bank.recall is not written yet")
