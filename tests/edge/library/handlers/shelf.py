"""The library's books. What a book's name contains decides how it behaves."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from grpclib.const import Status

from generated.pb.google.protobuf import FieldMask, Value
from generated.pb.library.v1 import (
    ArchiveBookRequest,
    ArchiveBookResponse,
    Book,
    CreateBookRequest,
    CreateBookResponse,
    GetBookRequest,
    GetBookResponse,
    ListBooksRequest,
    ListBooksResponse,
    ReturnBookRequest,
    ReturnBookResponse,
    TakeBookRequest,
    TakeBookResponse,
    UpdateBookRequest,
    UpdateBookResponse,
)
from generated.services.shelf import ShelfHandlers
from sagagen.runtime import Call, Declined, RpcError


class ShelfService(ShelfHandlers):
    def __init__(self) -> None:
        self.gate = asyncio.Event()
        """Opened by a test: until then nobody takes a slow book."""
        self.reads = 0
        self.created = 0
        self.metadata_keys: list[str] = []
        self.callers: list[str] = []
        self.claims: list[Mapping[str, object]] = []
        self.returned: list[str] = []

    async def get_book(self, request: GetBookRequest, call: Call) -> GetBookResponse:
        self.callers.append(call.caller)
        self.claims.append(call.claims)
        self.reads += 1
        if "missing" in request.name:
            raise RpcError(Status.NOT_FOUND, "there is no such book", reason="BOOK_NOT_FOUND")
        if "flaky" in request.name and self.reads == 1:
            raise RpcError(Status.UNAVAILABLE, "try again")
        if "down" in request.name:
            raise RpcError(Status.UNAVAILABLE, "closed today", retry_after_s=7.2)
        if "endless" in request.name:
            await asyncio.sleep(60)
        return GetBookResponse(book=Book(name=request.name, title="Der Prozess"))

    async def list_books(self, request: ListBooksRequest, call: Call) -> ListBooksResponse:
        return ListBooksResponse(request=request)

    async def create_book(self, request: CreateBookRequest, call: Call) -> CreateBookResponse:
        self.callers.append(call.caller)
        self.created += 1
        self.metadata_keys.append(call.idempotency_key)
        book = request.book or Book()
        return CreateBookResponse(
            book=Book(name=f"{request.parent}/books/{request.book_id}", title=book.title)
        )

    async def update_book(self, request: UpdateBookRequest, call: Call) -> UpdateBookResponse:
        book = request.book or Book()
        if "forever" in book.name:
            book.loan_period = timedelta(days=10_000 * 366)
        if "nested" in book.name:
            book.sequels.append(Book(loan_period=timedelta.max))
        if "unheard" in book.name:
            book.note = Value(number_value=float("nan"))
        if "masked" in book.name:
            book.shown = FieldMask(paths=["fooBar"])
        return UpdateBookResponse(book=book)

    async def archive_book(self, request: ArchiveBookRequest, call: Call) -> ArchiveBookResponse:
        if "gone" in request.name:
            raise Declined("ALREADY_ARCHIVED", "it is in the archive")
        return ArchiveBookResponse(name=request.name, reason=request.reason)

    async def take_book(self, request: TakeBookRequest, call: Call) -> TakeBookResponse:
        self.callers.append(call.caller)
        self.claims.append(call.claims)
        if "lost" in request.name:
            raise Declined("BOOK_LOST", "nobody knows where it is")
        if "burning" in request.name:
            raise RpcError(Status.UNAVAILABLE, "the library is on fire")
        if "slow" in request.name:
            await self.gate.wait()
        return TakeBookResponse(book=Book(name=request.name, is_lent=True))

    async def return_book(self, request: ReturnBookRequest, call: Call) -> ReturnBookResponse:
        self.returned.append(request.name)
        return ReturnBookResponse()
