"""Forms as they come: read within limits, single values single (ME-8, WE-16, WE-17, L-3, L-5)."""

import asyncio

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from fediletter.limits import BODY_SECONDS, DESK_FORM_BYTES, FORM_FIELDS

_FILES = 6


async def read_form(request: Request) -> FormData:
    """The fields and files of a POST.

    Raises:
        HTTPException: 400 for a form that is malformed, too much in one part or breaks off.
    """
    try:
        return await request.form(
            max_fields=FORM_FIELDS, max_files=_FILES, max_part_size=DESK_FORM_BYTES
        )
    except ClientDisconnect as gone:
        raise HTTPException(400) from gone  # Nobody is there to read it.


async def read_fields(request: Request) -> FormData:
    """The fields of a POST by somebody unknown: of files the names alone, nothing on the disk.

    Raises:
        HTTPException: As `read_form`, and 408 if it takes longer than L-3.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            if not request.headers.get("content-type", "").startswith("multipart/form-data"):
                return await read_form(request)
            form = await _FieldsAlone(
                request.headers,
                request.stream(),
                max_fields=FORM_FIELDS,
                max_files=_FILES,
                max_part_size=DESK_FORM_BYTES,
            ).parse()
            await form.close()
            return form
    except (MultiPartException, ClientDisconnect) as wrong:
        raise HTTPException(400) from wrong
    except TimeoutError as slow:
        raise HTTPException(408) from slow


class _FieldsAlone(MultiPartParser):
    """Starlette's parser, which lets the octets of files pass by."""

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is None:
            super().on_part_data(data, start, end)


def one(form: FormData, name: str) -> str:
    """A field that stands once; empty if absent.

    Raises:
        HTTPException: 400 if it stands there more than once.
    """
    values = form.getlist(name)
    if len(values) > 1:
        raise HTTPException(400)
    return values[0].strip("\ufeff") if values and isinstance(values[0], str) else ""


def some(form: FormData, name: str) -> tuple[str, ...]:
    """A field that may stand several times."""
    return tuple(dict.fromkeys(value for value in form.getlist(name) if isinstance(value, str)))


def file(form: FormData, name: str) -> UploadFile | None:
    """An uploaded file, if one was chosen."""
    found = form.get(name)
    return found if isinstance(found, UploadFile) and found.filename else None


def cursor(request: Request, name: str) -> int | None:
    """A page's place in a list: the id beyond which it goes on; None at the beginning.

    Raises:
        HTTPException: 400 if it is no number of ours.
    """
    text = request.query_params.get(name, "")
    if not text:
        return None
    if not text.isdigit() or len(text) > 18:
        raise HTTPException(400)
    return int(text)


def choice(request: Request, name: str, allowed: tuple[str, ...]) -> str:
    """A filter of a list, from its enumeration (WE-15); the first if none is asked for.

    Raises:
        HTTPException: 422 for any other.
    """
    text = request.query_params.get(name, "") or allowed[0]
    if text not in allowed:
        raise HTTPException(422)
    return text
