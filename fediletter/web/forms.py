"""Forms as they come: read within limits, single values single (WE-16, WE-17, L-5)."""

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fediletter.limits import DESK_FORM_BYTES, FORM_FIELDS


async def read_form(request: Request) -> FormData:
    """The fields and files of a POST.

    Raises:
        HTTPException: 400 for a malformed form, 413 for too many or too large parts.
    """
    return await request.form(max_fields=FORM_FIELDS, max_files=6, max_part_size=DESK_FORM_BYTES)


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
