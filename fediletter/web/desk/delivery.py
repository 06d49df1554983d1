"""The desk's delivery view: how far a letter is, what waits for whom and why, and what to do.

Sources: issue 5.5; security.md RE-4, RE-6, RE-9; interface.md section 4.
"""

from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from fediletter.errors import AppError
from fediletter.web.context import services_of
from fediletter.web.desk.drafts import post_id_of
from fediletter.web.desk.login import at_desk, session_at
from fediletter.web.desk.page import desk_page
from fediletter.web.forms import one, read_form
from storage import audit, mailings, nudges, posts, progress
from storage.newsletters import Newsletter, get_newsletter
from storage.posts import Post
from storage.store import Tx


def _progress(tx: Tx, post: Post) -> progress.Progress:
    found = progress.progress_of(tx, post.id)
    if post.state != "scheduled":
        return found
    return replace(found, start_at=post.scheduled_at, stepping=True)  # It has not begun.


@at_desk
async def delivery(request: Request) -> Response:
    """How far a letter is, and what waits for whom and why."""
    return await show_delivery(request)


async def show_delivery(request: Request, *, uncorrected: AppError | None = None) -> Response:
    """The delivery view; with the reason beside its button, if no correction could be sent."""
    services = services_of(request)

    def look(tx: Tx) -> tuple[Newsletter, Post, progress.Progress, bool]:
        post = posts.get_post(tx, post_id_of(request))
        changed = post.state == "published" and post.to_email and post.revision > 1
        may_correct = changed and not mailings.was_corrected(tx, post.id, post.revision)
        return get_newsletter(tx), post, _progress(tx, post), may_correct

    newsletter, post, found, may_correct = await services.store.read(look)
    return desk_page(
        request,
        "delivery.html",
        status=uncorrected.status if uncorrected else 200,
        uncorrected=uncorrected,
        newsletter=newsletter,
        post=post,
        progress=found,
        may_correct=may_correct,
        waits=found.start_at is not None and found.start_at > services.clock.now(),
    )


@at_desk
async def delivery_state(request: Request) -> Response:
    """The same numbers for the script that moves the bars."""

    def look(tx: Tx) -> progress.Progress:
        return _progress(tx, posts.get_post(tx, post_id_of(request)))

    found = await services_of(request).store.read(look)
    return JSONResponse(
        {
            name: {
                "done": counts.delivered + counts.failed + counts.cancelled,
                "total": counts.total,
                "delivered": counts.delivered,
                "failed": counts.failed,
                "waiting": counts.waiting,
                "uncertain": counts.uncertain,
            }
            for name, counts in (("mail", found.mail), ("fediverse", found.fediverse))
        }
        | {"finished": found.finished}
    )


@at_desk
async def lane_action(request: Request) -> Response:
    """Try a resting host or a mail domain now, or give up what waits of this letter for it."""
    services = services_of(request)
    form = await read_form(request)
    post_id, now = post_id_of(request), services.clock.now()
    giving_up = one(form, "action") == "give-up"
    act = nudges.give_up if giving_up else nudges.try_again_now
    place = one(form, "domain") or one(form, "lane")
    where = {"domain": place} if one(form, "domain") else {"key": place}

    def work(tx: Tx) -> None:
        count = act(tx, post_id, now=now, **where)
        audit.write(
            tx,
            "give up" if giving_up else "try again",
            subject=f"{post_id} {place}: {count}",
            founder_id=session_at(request).founder.id,
            now=now,
        )

    await services.store.write(work)
    return RedirectResponse(f"/desk/letters/{post_id}/delivery", 303)
