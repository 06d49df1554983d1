"""What the exports of other programs look like: how to know them, and which column says what.

A column that is not named here is dropped and listed (IM-1): names, places, addresses of machines,
ratings and what was opened are nobody's business here.

Sources: email.md section 13, its table; the providers' own help pages as of November 2026.
"""

from dataclasses import dataclass

_MAIL = (
    *("email", "e-mail", "email address", "email_address", "e-mail address", "mail", "courriel"),
    *("adresse e-mail", "adresse email", "adresse mail", "adresse courriel"),
)


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of file. Columns by their plain names; of several, the first that is there counts.

    `status` holds a word of `deciding.STATES`; `left_if_true` and `stays_if_true` say yes or no;
    a moment in `left_at` or `gone_at` says that it happened.
    """

    name: str
    marks: tuple[frozenset[str], ...]  # One of these sets stands in the header.
    email: tuple[str, ...] = _MAIL
    status: tuple[str, ...] = ()
    left_if_true: tuple[str, ...] = ()
    stays_if_true: tuple[str, ...] = ()
    left_at: tuple[str, ...] = ()
    gone_at: tuple[str, ...] = ()
    requested: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()  # JSON that may name a language.
    language: tuple[str, ...] = ("language", "lang", "langue", "locale")
    order: str = ""  # Of day and month in its dates, where it is always the same.
    own: tuple[str, ...] = ()  # Columns that only our own export has.

    def columns(self) -> frozenset[str]:
        """All that are read."""
        return frozenset(
            (
                *(*self.email, *self.status, *self.left_if_true, *self.stays_if_true),
                *(*self.left_at, *self.gone_at, *self.requested, *self.confirmed),
                *(*self.topics, *self.attributes, *self.language, *self.own),
            )
        )

    def dates(self) -> tuple[str, ...]:
        """Columns that hold moments."""
        return (*self.left_at, *self.gone_at, *self.requested, *self.confirmed)


OWN = Source(
    "fediletter",
    (frozenset({"consent_version", "rhythm", "state"}),),
    email=("email",),
    status=("state",),
    left_at=("left_at",),
    requested=("requested_at",),
    confirmed=("confirmed_at",),
    topics=("topics",),
    language=("language",),
    own=(
        *("rhythm", "consent_version", "consent_text", "source", "paused_until", "reason"),
        *("hidden_topics", "proof", "all_topics", "record"),
    ),
)
SOURCES = (
    OWN,
    Source(
        "Mailchimp",
        (
            frozenset({"leid", "euid"}),
            frozenset({"email address", "member_rating"}),
            frozenset({"email address", "optin_time"}),
        ),
        email=("email address",),
        left_at=("unsub_time",),
        gone_at=("clean_time",),
        requested=("optin_time",),
        confirmed=("confirm_time", "optin_time"),
        topics=("tags",),
    ),
    Source(
        "Substack",
        (frozenset({"active_subscription"}), frozenset({"email_disabled"})),
        email=("email",),
        left_if_true=("email_disabled",),
        requested=("created_at",),
        confirmed=("created_at",),
    ),
    Source(
        "Ghost",
        (frozenset({"subscribed_to_emails"}),),
        email=("email",),
        stays_if_true=("subscribed_to_emails",),
        left_at=("deleted_at",),
        requested=("created_at",),
        confirmed=("created_at",),
        topics=("labels",),
    ),
    Source(
        "listmonk",
        (frozenset({"uuid", "attributes"}), frozenset({"email", "name", "attributes"})),
        email=("email",),
        status=("status",),
        requested=("created_at",),
        confirmed=("created_at",),
        attributes=("attributes",),
    ),
    Source(
        "Buttondown",
        (
            frozenset({"email_address"}),
            frozenset({"email", "subscriber_type"}),
            frozenset({"email", "unsubscription_date"}),
        ),
        email=("email_address", "email"),
        status=("type", "subscriber_type"),
        left_at=("unsubscription_date",),
        gone_at=("undeliverability_date",),
        requested=("creation_date",),
        confirmed=("creation_date",),
        topics=("tags",),
    ),
    Source(
        "Brevo",
        (
            frozenset({"email_blacklisted"}),
            frozenset({"email", "blacklist"}),
            frozenset({"contact id", "email"}),
        ),
        email=("email", "e-mail"),
        left_if_true=("email_blacklisted", "blacklist"),
        requested=("added_time",),
        confirmed=("added_time",),
        order="day",
    ),
    Source(
        "Keila",
        (frozenset({"external id", "status"}),),
        email=("email",),
        status=("status",),
        attributes=("data",),
    ),
)
# Any other table: what is called by a usual name is understood.
ANY = Source(
    "CSV",
    (),
    status=("status", "state", "statut"),
    left_if_true=("unsubscribed", "desinscrit", "blacklisted"),
    stays_if_true=("subscribed", "inscrit"),
    left_at=("unsubscribed_at", "unsub_time"),
    requested=("created_at", "created", "date", "subscribed_at", "date d'inscription"),
    confirmed=("confirmed_at", "subscribed_at", "created_at", "created", "date"),
    topics=("topics", "tags", "labels", "sujets", "themes"),
)


def source_of(columns: tuple[str, ...]) -> Source:
    """Where a table comes from."""
    present = frozenset(columns)
    return next((one for one in SOURCES if any(marks <= present for marks in one.marks)), ANY)
