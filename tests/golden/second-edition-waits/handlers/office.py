from generated.pb.hire import Nothing, Person, Welcoming
from generated.services.office import OfficeHandlers
from sagagen.runtime import Call, Declined


class OfficeService(OfficeHandlers):
    async def invite(self, request: Person, call: Call) -> Nothing:
        return Nothing()

    async def cancel(self, request: Person, call: Call) -> Nothing:
        raise Declined("NOT_YET", "the office is closed")

    async def welcome(self, request: Welcoming, call: Call) -> Nothing:
        return Nothing()
