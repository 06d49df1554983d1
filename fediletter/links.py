"""Every URL and id that we hand out, in one place.

Ids are permanent and opaque (R1, R2 of federation.md section 2); pages have slugs. The names of the
paths are fixed by `interface.md` section 4.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

_POST_ID = re.compile(r"/(issues|notes)/([a-z0-9]+)(?:/activity)?")


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses below one base URL.

    Args:
        base: Scheme and host, without a final slash.
        user: User name of the newsletter's account.
    """

    base: str
    user: str

    # Actors ---------------------------------------------------------------------------------
    def actor(self, username: str | None = None) -> str:
        """Actor id; without a name the newsletter's own."""
        return f"{self.base}/ap/{username or self.user}"

    @property
    def instance_actor(self) -> str:
        return f"{self.base}/ap/instance"

    @property
    def shared_inbox(self) -> str:
        return f"{self.base}/ap/inbox"

    def key(self, actor: str, fragment: str) -> str:
        return f"{actor}#{fragment}"

    @property
    def profile(self) -> str:
        return f"{self.base}/@{self.user}"

    # What we said -----------------------------------------------------------------------------
    def post_object(self, kind: str, public_id: str) -> str:
        """Object id of a post: an issue, or a note or poll (both Notes in the path)."""
        return f"{self.actor()}/{'issues' if kind == 'issue' else 'notes'}/{public_id}"

    def post_of(self, uri: str) -> str | None:
        """Public id of the post that `uri` (object or its Create) names; None if not ours."""
        if not uri.startswith(self.actor() + "/"):
            return None
        found = _POST_ID.fullmatch(uri.removeprefix(self.actor()))
        return found[2] if found else None

    def activity(self, token: str) -> str:
        return f"{self.base}/ap/act/{token}"

    def quote(self, public_id: str) -> str:
        return f"{self.actor()}/quotes/{public_id}"

    def note(self, public_id: str) -> str:
        """The page of an answer or a poll."""
        return f"{self.profile}/{public_id}"

    # Pages ------------------------------------------------------------------------------------
    def letter(self, slug: str) -> str:
        return f"{self.base}/letters/{quote(slug)}"

    def topic(self, slug: str) -> str:
        return f"{self.base}/topics/{quote(slug)}"

    def page(self, path: str) -> str:
        """Any other address; `path` begins with a slash."""
        return self.base + path

    def confirm(self, token: str) -> str:
        return f"{self.base}/confirm/{token}"

    def unsubscribe(self, token: str) -> str:
        return f"{self.base}/unsubscribe/{token}"

    def preferences(self, token: str) -> str:
        return f"{self.base}/preferences/{token}"

    def media(self, name: str) -> str:
        """File name of a stored rendition, with its extension."""
        return f"{self.base}/media/{name}"
