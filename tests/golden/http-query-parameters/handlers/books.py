"""Echoes what arrived, so that the answers show it."""

from generated.pb.case import ListReply, ListRequest
from generated.services.books import BooksHandlers
from sagagen.runtime import Call


class BooksService(BooksHandlers):
    async def list_books(self, request: ListRequest, call: Call) -> ListReply:
        return ListReply(request=request)
