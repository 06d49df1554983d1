"""A page of the desk: the template, who is looking, and the token for its forms."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fediletter.web.context import page
from fediletter.web.desk.login import session_at


def desk_page(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
    """A page of the desk, with the session's token for its forms."""
    session = session_at(request)
    return page(
        request,
        f"desk/{template}",
        status=status,
        csrf=session.csrf,
        founder=session.founder,
        **context,
    )
