"""Service `loyalty`: points of customers."""

from generated.pb.delivery.loyalty.v1 import AddPointsRequest, AddPointsResponse
from generated.services.loyalty import LoyaltyHandlers
from sagagen.runtime import Call


class LoyaltyService(LoyaltyHandlers):
    async def add_points(self, request: AddPointsRequest, call: Call) -> AddPointsResponse:
        await call.db.execute(
            "INSERT INTO accounts (customer_id, points) VALUES (?, ?) "
            "ON CONFLICT (customer_id) DO UPDATE SET points = accounts.points + excluded.points",
            (request.customer_id, request.points),
        )
        return AddPointsResponse()
