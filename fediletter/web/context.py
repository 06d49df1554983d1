"""What every handler needs from a request: the services, the reader's language, a rendered page."""

from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from fediletter.newsletter import wording
from fediletter.newsletter.rhythm import promise
from fediletter.newsletter.typography import typeset
from fediletter.services import Services
from fediletter.settings import LANGUAGES
from fediletter.words import Words, choose_language, words

STATIC = Path(__file__).parent / "static"
_TEMPLATES = Path(__file__).parent / "templates"

_environment = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


def services_of(request: Request) -> Services:
    """The services of the running app."""
    services: Services = request.app.state.services
    return services


def words_of(request: Request) -> Words:
    """Words in the language of the one who asks: `?lang=`, then Accept-Language, then the site's.

    The desk sets `request.state.language` and `request.state.time_zone` to the founder's choice.
    """
    site = services_of(request).settings.language
    chosen = getattr(request.state, "language", None) or request.query_params.get("lang", "")
    if chosen in LANGUAGES:
        return words(chosen).at(getattr(request.state, "time_zone", ""))
    return words(choose_language(request.headers.get("accept-language", ""), site))


def page(request: Request, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A page in the reader's language.

    Templates see `_`, `ngettext`, `words`, `links`, `settings`, `request`, `typeset`, `promise`,
    `wording`, `languages`, `words_in` and what is passed.
    """
    language = words_of(request)
    services = services_of(request)
    body = _environment.get_template(template).render(
        _=language.gettext,
        ngettext=language.ngettext,
        words=language,
        links=services.links,
        settings=services.settings,
        typeset=typeset,
        languages=LANGUAGES,
        words_in=words,
        promise=partial(promise, language),
        wording=wording,
        request=request,
        **context,
    )
    response = HTMLResponse(body, status)
    response.headers["Content-Language"] = language.language
    response.headers["Vary"] = "Accept-Language"
    return response
