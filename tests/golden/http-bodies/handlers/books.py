"""Echoes what arrived, so that the answers show it."""

from generated.pb.case import Answer, Book, NameRequest, TagsRequest, UpdateRequest
from generated.services.books import BooksHandlers
from sagagen.runtime import Call


class BooksService(BooksHandlers):
    async def update(self, request: UpdateRequest, call: Call) -> Answer:
        return Answer(title=f"{request.name} {(request.book or Book()).title} {request.note}")

    async def set_tags(self, request: TagsRequest, call: Call) -> Answer:
        return Answer(tags=request.tags)

    async def get_title(self, request: NameRequest, call: Call) -> Answer:
        return Answer(title=request.name)

    async def get_tags(self, request: NameRequest, call: Call) -> Answer:
        return Answer(tags=[request.name])
