"""Echoes what arrived, so that the answers show it."""

from generated.pb.case import ArchiveRequest, Author, Book, BookRequest, FileRequest, ListRequest, PlaceRequest
from generated.services.books import BooksHandlers
from sagagen.runtime import Call


class BooksService(BooksHandlers):
    async def get_book(self, request: BookRequest, call: Call) -> Book:
        return Book(text=request.name)

    async def get_file(self, request: FileRequest, call: Call) -> Book:
        return Book(text=request.path)

    async def list_books(self, request: ListRequest, call: Call) -> Book:
        return Book(text=request.parent)

    async def by_author(self, request: Author, call: Call) -> Book:
        return Book(text=(request.author or Author()).name)

    async def archive(self, request: ArchiveRequest, call: Call) -> Book:
        return Book(text=f"{request.name}: {request.reason}")

    async def place(self, request: PlaceRequest, call: Call) -> Book:
        return Book(text=f"{request.row}, {request.kind.name}")
