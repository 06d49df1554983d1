"""Every table of the store, in one file: read this first.

What stands here is true on SQLite and PostgreSQL alike. Columns hold whole milliseconds since
1970 for time (UTC), text for JSON (`*_json`), octets where the exact bytes matter. Public ids
are opaque and never reused; row ids of tables whose rows are deleted are never handed out again
(`sqlite_autoincrement`), because plain SQLite would.

Knows nothing of protocols, of pages or of why a row is written.

Sources: RE-3 to RE-10 (deliveries), IN-7, IN-8, IN-19 (received, replies), PR-1, PR-5
(subscribers), OP-5 (consent), WE-1, WE-19 (sessions, sealed secrets) of the reference pages.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    and_,
    text,
)
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows only in a column declared INTEGER.
_ID: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")


def _id() -> Column[int]:
    return Column("id", _ID, primary_key=True, autoincrement=True)


def _ref(name: str, target: str, *, nullable: bool = False, cascade: bool = False) -> Column[int]:
    return Column(
        name,
        _ID,
        ForeignKey(f"{target}.id", ondelete="CASCADE" if cascade else None),
        nullable=nullable,
    )


def _ms(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _words(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable, server_default=None if nullable else "")


def _flag(name: str, default: bool = False) -> Column[bool]:
    return Column(
        name, Boolean, nullable=False, server_default=text("true" if default else "false")
    )


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


# --- the publication -----------------------------------------------------------------------

newsletter = Table(
    "newsletter",
    metadata,
    _id(),  # One row, id 1: one newsletter per installation.
    _words("title"),
    _words("description"),  # Plain text: front page, actor summary, feeds.
    _words("language"),
    _words("sender_name"),
    _words("reply_to"),
    _words("postal_address"),  # In every footer (OP-7).
    _words("shop_url"),
    Column("profile_fields_json", Text, nullable=False, server_default="[]"),
    Column("rhythm_days", Integer, nullable=False, server_default="0"),  # 0: no promise made.
    Column("digest_month", Integer, nullable=False, server_default="0"),  # Last one sent: 202611.
    Column("second_thoughts_ms", BigInteger, nullable=True),  # None: the setting decides.
    _flag("approve_known"),  # Replies of people approved before are shown at once.
    _ref("icon_media_id", "media", nullable=True),
    _ref("image_media_id", "media", nullable=True),
    _words("list_label"),  # List-ID label, constant for ever (HD-9).
    _count("revision"),  # Moves with every change that a page, feed or document shows.
    _ms("created_at"),
)

actor = Table(
    "actor",
    metadata,
    _id(),
    Column("username", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # newsletter, instance, topic
    _ref("topic_id", "topic", nullable=True),
    Column("moved_to", Text, nullable=True),
    Column("also_known_as_json", Text, nullable=False, server_default="[]"),
    _ms("created_at"),
    CheckConstraint("kind IN ('newsletter', 'instance', 'topic')", name="kind"),
)

actor_key = Table(
    "actor_key",
    metadata,
    _id(),
    _ref("actor_id", "actor"),
    Column("kind", Text, nullable=False),  # rsa, ed25519, diaspora
    Column("fragment", Text, nullable=False),  # main-key, ed25519-key, …: never used again
    Column("public", Text, nullable=False),  # SPKI PEM, or Multikey
    Column("sealed_private", LargeBinary, nullable=False),
    _ms("created_at"),
    _ms("retired_at", nullable=True),
    UniqueConstraint("actor_id", "fragment"),
)

dkim_key = Table(
    "dkim_key",  # Our own signatures on mail (DK-2): published first, then used, then retired.
    metadata,
    _id(),
    Column("selector", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # rsa, ed25519
    Column("record", Text, nullable=False),  # What stands in DNS.
    Column("sealed_private", LargeBinary, nullable=False),
    _ms("created_at"),
    _ms("used_since", nullable=True),
    _ms("retired_at", nullable=True),
)

topic = Table(
    "topic",
    metadata,
    _id(),
    Column("slug", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    _words("description"),
    Column("hashtag", Text, nullable=False),  # Without the '#'.
    _flag("public", True),
    Column("position", Integer, nullable=False, server_default="0"),
    _ms("created_at"),
)

media = Table(
    "media",
    metadata,
    _id(),
    Column("public_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # image, audio
    Column("mime", Text, nullable=False),
    Column("width", Integer, nullable=True),
    Column("height", Integer, nullable=True),
    Column("seconds", Integer, nullable=True),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    _words("alt"),
    _words("caption"),
    _words("credit"),
    _words("name"),  # What the person called it: display text only (ME-7).
    Column("renditions_json", Text, nullable=False, server_default="[]"),
    _ref("founder_id", "founder", nullable=True),
    _ms("created_at"),
    sqlite_autoincrement=True,
)

# --- who may enter the desk ------------------------------------------------------------------

founder = Table(
    "founder",
    metadata,
    _id(),
    Column("email", Text, nullable=False),
    Column("identity", Text, nullable=False, unique=True),  # Lower-cased address.
    _words("name"),
    Column("role", Text, nullable=False),  # founder, editor
    Column("language", Text, nullable=True),
    _words("time_zone"),  # Name of IANA; empty: never chosen, UTC.
    Column("password_hash", Text, nullable=True),  # None: not set yet, no way in.
    Column("totp_sealed", LargeBinary, nullable=True),
    Column("totp_step", BigInteger, nullable=True),  # Last step used: codes work once (WE-5).
    _ms("created_at"),
    _ms("disabled_at", nullable=True),
    CheckConstraint("role IN ('founder', 'editor')", name="role"),
    sqlite_autoincrement=True,
)

passkey = Table(
    "passkey",
    metadata,
    _id(),
    _ref("founder_id", "founder", cascade=True),
    Column("credential_id", LargeBinary, nullable=False, unique=True),
    Column("public_key", LargeBinary, nullable=False),
    _count("sign_count"),
    _words("label"),
    _ms("created_at"),
    _ms("used_at", nullable=True),
)

recovery_code = Table(
    "recovery_code",
    metadata,
    _id(),
    _ref("founder_id", "founder", cascade=True),
    Column("code_hash", LargeBinary, nullable=False),
    _ms("used_at", nullable=True),
)

session = Table(
    "session",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    _ref("founder_id", "founder", cascade=True),
    Column("csrf", Text, nullable=False),
    Column("label", Text, nullable=False, server_default=""),
    _ms("created_at"),
    _ms("seen_at"),
    _ms("fresh_at"),  # Last time that all factors were shown (L-60).
)

attempt = Table(
    "attempt",  # Begun at the door and not done yet: a log-in, a passkey, a secret of codes.
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("purpose", Text, nullable=False),  # second, passkey, add-passkey, add-codes
    _ref("founder_id", "founder", nullable=True, cascade=True),
    Column("session_hash", LargeBinary, nullable=True),  # The session that it belongs to.
    Column("secret", LargeBinary, nullable=True),  # A challenge, or a sealed seed (WE-19).
    Column("tries", Integer, nullable=False, server_default="0"),
    _ms("expires_at"),
)

one_time_link = Table(
    "one_time_link",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("purpose", Text, nullable=False),  # setup, invite, reset, change-address, export, …
    _ref("founder_id", "founder", nullable=True, cascade=True),
    _ref("subscriber_id", "subscriber", nullable=True, cascade=True),
    Column("detail", Text, nullable=True),
    _ms("created_at"),
    _ms("expires_at"),
    _ms("used_at", nullable=True),
)

throttle = Table(
    "throttle",  # Counters of L-14 to L-16, L-62, L-70 to L-73: must survive a restart.
    metadata,
    Column("key", Text, primary_key=True),
    Column("hits", Integer, nullable=False),
    _ms("since"),
    _ms("until"),
    Index("ix_throttle_until", "until"),
)

probe = Table(
    "probe",  # The doctor's mails to ourselves that came back (DO-10).
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("head", Text, nullable=False),
    _ms("at"),
)

audit = Table(
    "audit",
    metadata,
    _id(),
    _ms("at"),
    Column("founder_id", _ID, nullable=True),  # Survives the person's removal.
    Column("channel", Text, nullable=False),  # web, cli, clock
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False, server_default=""),
    Column("detail_json", Text, nullable=False, server_default="{}"),
    Index("ix_audit_at", "at"),
)

# --- what we say -----------------------------------------------------------------------------

post = Table(
    "post",
    metadata,
    _id(),
    Column("public_id", Text, nullable=False, unique=True),
    Column("slug", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),  # issue, note, poll
    Column("state", Text, nullable=False),  # draft, scheduled, published, withdrawn
    _words("title"),
    _words("summary"),  # The teaser (R14).
    _words("body_markdown"),
    Column("language", Text, nullable=False),
    _ref("cover_media_id", "media", nullable=True),
    _words("cover_alt"),
    _ref("audio_media_id", "media", nullable=True),
    _words("fediverse_teaser"),  # Empty: the summary.
    _words("card_title"),  # Of the card below a link to it. Empty: the title.
    _words("card_description"),  # Empty: the summary.
    Column("article_form", Text, nullable=False, server_default=""),  # Empty: the default form.
    _words("hashtags"),  # Beside the topics' own; without '#', between spaces.
    # unlisted, followers; direct: an answer to one person
    Column("audience", Text, nullable=False, server_default="public"),
    _flag("to_web", True),
    _flag("to_fediverse", True),
    _flag("to_email", True),
    _flag("embeds_images"),  # Its mail carries them; else readers fetch them from us.
    Column("in_reply_to", Text, nullable=True),  # A Note that answers somebody: their object id.
    Column("reply_id", _ID, nullable=True),  # The row answered; no key, reply points here too.
    Column("version", Integer, nullable=False, server_default="1"),  # Optimistic lock of the form.
    Column("revision", Integer, nullable=False, server_default="0"),  # Public: pages, feeds, JSON.
    Column("second_thoughts_ms", BigInteger, nullable=True),
    _words("rhythm_reason"),  # Why the promise was broken, in the founder's words.
    _ref("founder_id", "founder", nullable=True),
    _ms("created_at"),
    _ms("saved_at"),
    _ms("scheduled_at", nullable=True),
    _ms("published_at", nullable=True),
    _ms("updated_at", nullable=True),  # As federated: strictly increasing (R6).
    _ms("withdrawn_at", nullable=True),
    CheckConstraint("kind IN ('issue', 'note', 'poll')", name="kind"),
    CheckConstraint("state IN ('draft', 'scheduled', 'published', 'withdrawn')", name="state"),
    Index("ix_post_published", "state", "kind", "published_at"),
    Index("ix_post_scheduled", "state", "scheduled_at"),
    sqlite_autoincrement=True,
)

post_version = Table(
    "post_version",  # What the form held before: nothing typed disappears.
    metadata,
    _id(),
    _ref("post_id", "post", cascade=True),
    Column("version", Integer, nullable=False),
    Column("fields_json", Text, nullable=False),
    _ref("founder_id", "founder", nullable=True),
    _ms("saved_at"),
    Index("ix_post_version_post_id", "post_id", "id"),
    sqlite_autoincrement=True,
)

post_topic = Table(
    "post_topic",
    metadata,
    Column("post_id", _ID, ForeignKey("post.id", ondelete="CASCADE"), primary_key=True),
    Column("topic_id", _ID, ForeignKey("topic.id", ondelete="CASCADE"), primary_key=True),
    Index("ix_post_topic_topic_id", "topic_id"),
)

old_slug = Table(
    "old_slug",  # Links in letters must not break when a title is edited.
    metadata,
    Column("slug", Text, primary_key=True),
    _ref("post_id", "post", cascade=True),
)

poll = Table(
    "poll",
    metadata,
    Column("post_id", _ID, ForeignKey("post.id", ondelete="CASCADE"), primary_key=True),
    _flag("multiple"),
    _ms("ends_at"),
    _ms("closed_at", nullable=True),
    _ms("tallied_at", nullable=True),  # Last tally Update sent (at most every three minutes).
    _flag("changed"),
)

poll_option = Table(
    "poll_option",
    metadata,
    _id(),
    _ref("post_id", "post", cascade=True),
    Column("position", Integer, nullable=False),
    Column("name", Text, nullable=False),
    UniqueConstraint("post_id", "name"),
)

vote = Table(
    "vote",
    metadata,
    _id(),
    _ref("post_id", "post", cascade=True),
    _ref("option_id", "poll_option", cascade=True),
    Column("voter", Text, nullable=False),  # Actor id, or 'subscriber:<id>'.
    _ms("at"),
    UniqueConstraint("option_id", "voter"),
    Index("ix_vote_post_id_voter", "post_id", "voter"),
)

activity = Table(
    "activity",
    metadata,
    _id(),
    Column("uri", Text, nullable=False, unique=True),
    _ref("actor_id", "actor"),
    Column("type", Text, nullable=False),
    Column("object_uri", Text, nullable=False),  # Order is kept per object within a lane.
    _ref("post_id", "post", nullable=True),
    Column("body", LargeBinary, nullable=False),  # Exact bytes, as signed and sent.
    Column("digest", Text, nullable=False),  # base64 of SHA-256 of body
    _flag("listed"),  # Shown in the outbox.
    _ms("created_at"),
    Index("ix_activity_object_uri", "object_uri"),
    Index("ix_activity_listed", "actor_id", "listed", "id"),
    sqlite_autoincrement=True,
)

mailing = Table(
    "mailing",
    metadata,
    _id(),
    _ref("post_id", "post"),
    Column("kind", Text, nullable=False),  # issue, correction, digest
    Column("sequence", Integer, nullable=False, server_default="1"),
    _words("pause_reason"),
    _ms("paused_at", nullable=True),
    _ms("created_at"),
    _ms("finished_at", nullable=True),
    Column("posts_json", Text, nullable=True),  # Of a digest: the letters that it may list.
    UniqueConstraint("post_id", "kind", "sequence"),
    sqlite_autoincrement=True,
)

mailing_template = Table(
    "mailing_template",  # Composed once per language, filled as bytes per reader (SE-1).
    metadata,
    _ref("mailing_id", "mailing", cascade=True),
    Column("language", Text, nullable=False),  # Of a digest also which letters: `fr:5`.
    Column("subject", Text, nullable=False),
    Column("template", LargeBinary, nullable=False),
    UniqueConstraint("mailing_id", "language"),
)

notice = Table(
    "notice",  # One mail to one person: confirmation, service mail, alert, test.
    metadata,
    _id(),
    Column("kind", Text, nullable=False),  # confirm, service, alert, test
    _ref("subscriber_id", "subscriber", nullable=True, cascade=True),
    Column("recipient", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # RFC 5322 bytes
    _ms("expires_at", nullable=True),  # A confirmation is worthless after L-74.
    _ms("created_at"),
    sqlite_autoincrement=True,
)

# --- deliveries ------------------------------------------------------------------------------

fan_out = Table(
    "fan_out",
    metadata,
    _id(),
    _ref("activity_id", "activity", nullable=True),
    _ref("mailing_id", "mailing", nullable=True),
    Column("audience", Text, nullable=False),  # followers, subscribers, everyone-who-saw-it
    _count("cursor"),  # Id of the last reader turned into a delivery.
    Column("upto", BigInteger, nullable=False),  # Newest reader at publish: none from later.
    _ms("start_at"),  # After second thoughts.
    _ms("created_at"),
    _ms("done_at", nullable=True),
    _ms("cancelled_at", nullable=True),
    CheckConstraint("(activity_id IS NULL) <> (mailing_id IS NULL)", name="one"),
    UniqueConstraint("activity_id", "audience"),
    UniqueConstraint("mailing_id", "audience"),
    Index(
        "ix_fan_out_open",
        "start_at",
        sqlite_where=text("done_at IS NULL AND cancelled_at IS NULL"),
        postgresql_where=text("done_at IS NULL AND cancelled_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

worker = Table(
    "worker",
    metadata,
    _id(),
    _words("label"),  # host and process, for the desk
    _count("beat"),
    _ms("started_at"),
    sqlite_autoincrement=True,
)

lane = Table(
    "lane",
    metadata,
    _id(),
    Column("key", Text, nullable=False, unique=True),  # ap:peer.example, mail:0, notice:0
    Column("kind", Text, nullable=False),  # activities, email, diaspora
    _flag("urgent"),
    _ms("ready_at", nullable=True),  # None: nothing to do, or resting by hand.
    Column("leased_by", _ID, nullable=True),
    Column("term", BigInteger, nullable=False, server_default="0"),
    Column("failures", Integer, nullable=False, server_default="0"),  # In a row.
    _ms("failing_since", nullable=True),
    Column("failing_days", Integer, nullable=False, server_default="0"),  # Distinct, in a row.
    Column("last_failing_day", Integer, nullable=True),  # Days since 1970.
    _ms("dormant_at", nullable=True),
    Column("freed", Integer, nullable=False, server_default="0"),  # Leases lost in a row.
    _ms("parked_at", nullable=True),  # A delivery here kills its worker.
    Column("scheme", Text, nullable=True),  # Signature scheme this host took last.
    _ms("scheme_at", nullable=True),
    Column("last_error", Text, nullable=True),
    Index(
        "ix_lane_ready",
        "urgent",
        "ready_at",
        sqlite_where=text("ready_at IS NOT NULL AND leased_by IS NULL AND parked_at IS NULL"),
        postgresql_where=text("ready_at IS NOT NULL AND leased_by IS NULL AND parked_at IS NULL"),
    ),
    Index("ix_lane_leased_by", "leased_by"),
    sqlite_autoincrement=True,
)

inbox = Table(
    "inbox",
    metadata,
    _id(),
    Column("url", Text, nullable=False, unique=True),
    _ref("lane_id", "lane"),
    _flag("shared"),
    _ms("gone_at", nullable=True),
    sqlite_autoincrement=True,
)

delivery = Table(
    "delivery",
    metadata,
    _id(),
    _ref("lane_id", "lane"),
    _ref("activity_id", "activity", nullable=True),
    _ref("inbox_id", "inbox", nullable=True),
    _ref("mailing_id", "mailing", nullable=True),
    _ref("subscriber_id", "subscriber", nullable=True),
    _ref("notice_id", "notice", nullable=True),
    Column("object_uri", Text, nullable=True),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _ms("not_before"),
    _ms("created_at"),
    _ms("started_at", nullable=True),  # Of the attempt that may be uncertain.
    _ms("ended_at", nullable=True),
    Column("message_id", Text, nullable=True),  # Mail: constant over all attempts (RE-6).
    _ms("dated_at", nullable=True),  # The Date that a repeat must carry (HD-1).
    Column("answer", Text, nullable=True),
    Column("variant", BigInteger, nullable=True),  # Of a digest: a bit for each of its letters.
    CheckConstraint(
        "state IN ('waiting', 'started', 'delivered', 'failed', 'cancelled', 'uncertain')",
        name="state",
    ),
    UniqueConstraint("activity_id", "inbox_id"),
    UniqueConstraint("mailing_id", "subscriber_id"),
    UniqueConstraint("notice_id"),
    Index(
        "ix_delivery_open",
        "lane_id",
        "id",
        sqlite_where=text("state IN ('waiting', 'started', 'uncertain')"),
        postgresql_where=text("state IN ('waiting', 'started', 'uncertain')"),
    ),
    Index("ix_delivery_subscriber_id", "subscriber_id"),
    Index(
        "ix_delivery_message_id",  # Answers and reports name it.
        "message_id",
        sqlite_where=text("message_id IS NOT NULL"),
        postgresql_where=text("message_id IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

# As `ix_delivery_open` says it, word for word: SQLite uses a partial index for nothing else, and
# would read every delivery ever made instead.
IS_OPEN = text("delivery.state IN ('waiting', 'started', 'uncertain')")
# Of what is open, what has not begun. Written out: an expanding list cannot be used with many
# parameter sets at a time.
TO_DO = and_(IS_OPEN, text("delivery.state IN ('waiting', 'uncertain')"))

tally = Table(
    "tally",  # Finished deliveries of an activity or a mailing, folded together.
    metadata,
    _id(),
    _ref("activity_id", "activity", nullable=True),
    _ref("mailing_id", "mailing", nullable=True),
    _count("delivered"),
    _count("failed"),
    _count("cancelled"),
    _count("uncertain"),
    UniqueConstraint("activity_id"),
    UniqueConstraint("mailing_id"),
)

# --- who listens by mail ---------------------------------------------------------------------

subscriber = Table(
    "subscriber",
    metadata,
    _id(),
    Column("key", LargeBinary, nullable=False, unique=True),  # 10 random bytes: tokens (UN-8).
    Column("email", Text, nullable=False),  # As typed.
    Column("identity", Text, nullable=False, unique=True),  # TR-26
    Column("state", Text, nullable=False),  # pending, active, left, suppressed
    Column("language", Text, nullable=False),
    Column("rhythm", Text, nullable=False, server_default="every"),  # every, monthly
    _flag("all_topics", True),  # Chose none: gets every letter.
    Column("mail_lane", Integer, nullable=False, server_default="0"),
    _ms("paused_until", nullable=True),
    Column("epoch", Integer, nullable=False, server_default="1"),  # Of preference links.
    Column("source", Text, nullable=False),  # form, import, mailto
    Column("follows_as", Text, nullable=True),  # Actor id, if they said so.
    _ms("requested_at"),
    _ms("confirmed_at", nullable=True),
    _ms("left_at", nullable=True),
    _ms("held_until", nullable=True),  # Bounced once: no mail for a while.
    Column("left_topics_json", Text, nullable=True),  # For undo within a day (UN-7).
    CheckConstraint("state IN ('pending', 'active', 'left', 'suppressed')", name="state"),
    Index("ix_subscriber_state", "state", "id"),
    sqlite_autoincrement=True,
)

subscription = Table(
    "subscription",
    metadata,
    Column("subscriber_id", _ID, ForeignKey("subscriber.id", ondelete="CASCADE"), primary_key=True),
    Column("topic_id", _ID, ForeignKey("topic.id", ondelete="CASCADE"), primary_key=True),
    _ms("since"),
    Index("ix_subscription_topic_id", "topic_id", "subscriber_id"),
)

confirmation = Table(
    "confirmation",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    _ref("subscriber_id", "subscriber", cascade=True),
    Column("wish_json", Text, nullable=False),  # Topics, rhythm, language asked for.
    _ms("created_at"),
    _ms("expires_at"),
    _ms("used_at", nullable=True),
    Index("ix_confirmation_subscriber_id", "subscriber_id"),
)

ask = Table(
    "ask",  # What came through an open form: done after its reply (EM-10), whoever it names.
    metadata,
    _id(),
    Column("kind", Text, nullable=False),  # subscribe, link, vote
    Column("email", Text, nullable=False),
    Column("wish_json", Text, nullable=False, server_default="{}"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _ms("not_before"),
    _ms("at"),
    Index("ix_ask_not_before", "not_before"),
    sqlite_autoincrement=True,
)

consent_text = Table(
    "consent_text",  # The wording agreed to, kept by version (OP-5).
    metadata,
    Column("version", Text, primary_key=True),  # Hash of language and text.
    Column("language", Text, nullable=False),
    Column("text", Text, nullable=False),
    _ms("created_at"),
)

consent = Table(
    "consent",  # Append only.
    metadata,
    _id(),
    _ref("subscriber_id", "subscriber", cascade=True),
    Column("kind", Text, nullable=False),
    _ms("at"),
    Column("channel", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("topics_before_json", Text, nullable=False, server_default="[]"),
    Column("topics_after_json", Text, nullable=False, server_default="[]"),
    Column("text_version", Text, nullable=True),
    Column("message_id", Text, nullable=True),
    Column("proof", Text, nullable=True),
    Index("ix_consent_subscriber_id", "subscriber_id"),
    sqlite_autoincrement=True,
)

suppression = Table(
    "suppression",
    metadata,
    Column("address_hash", LargeBinary, primary_key=True),  # Keyed (PR-5).
    Column("reason", Text, nullable=False),
    Column("note", Text, nullable=True),
    _ms("at"),
)

intake = Table(
    "intake",  # A list that comes in: outlives the process that reads it.
    metadata,
    _id(),
    Column("token", Text, nullable=False, unique=True),  # In addresses, and of its folder.
    Column("name", Text, nullable=False),  # Of the file.
    Column("state", Text, nullable=False),  # reading, looked, writing, done, failed
    Column("founder_id", _ID, nullable=True),  # None: the command line.
    Column("wish_json", Text, nullable=False),
    Column("report_json", Text, nullable=False, server_default="{}"),
    Column("problem_json", Text, nullable=True),
    Column("done", BigInteger, nullable=False, server_default="0"),
    Column("total", BigInteger, nullable=False, server_default="0"),
    Column("cursor", BigInteger, nullable=False, server_default="0"),  # The last person written.
    _ms("at"),
    Index("ix_intake_state", "state"),
    sqlite_autoincrement=True,
)

bounce = Table(
    "bounce",
    metadata,
    _id(),
    _ref("subscriber_id", "subscriber", nullable=True, cascade=True),
    _ref("delivery_id", "delivery", nullable=True, cascade=True),
    Column("class", Text, nullable=False, key="class_"),
    Column("status", Text, nullable=True),
    Column("excerpt", Text, nullable=True),
    _flag("counted"),
    _ms("at"),
    Index("ix_bounce_subscriber_id", "subscriber_id", "at"),
    sqlite_autoincrement=True,
)

# --- who listens on the fediverse, and what they say -----------------------------------------

peer = Table(
    "peer",
    metadata,
    _id(),
    Column("host", Text, nullable=False, unique=True),
    Column("software", Text, nullable=True),
    _ms("first_at"),
    _ms("heard_at", nullable=True),  # Last verified request from it: wakes a dormant lane.
    sqlite_autoincrement=True,
)

remote_actor = Table(
    "remote_actor",
    metadata,
    _id(),
    Column("uri", Text, nullable=False, unique=True),
    Column("host", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("inbox_url", Text, nullable=False),
    Column("shared_inbox_url", Text, nullable=True),
    _words("username"),
    _words("name"),
    Column("url", Text, nullable=True),
    Column("icon_url", Text, nullable=True),
    Column("followers_uri", Text, nullable=True),
    Column("also_known_as_json", Text, nullable=False, server_default="[]"),
    Column("moved_to", Text, nullable=True),
    _flag("approved"),  # A founder approved a reply of theirs before.
    _ms("moved_at", nullable=True),
    _ms("fetched_at"),
    _ms("deleted_at", nullable=True),
    Index("ix_remote_actor_host", "host"),
    sqlite_autoincrement=True,
)

remote_key = Table(
    "remote_key",
    metadata,
    _id(),
    Column("uri", Text, nullable=False, unique=True),
    _ref("remote_actor_id", "remote_actor", cascade=True),
    Column("public", Text, nullable=False),  # SPKI PEM, or Multikey
    _ms("fetched_at"),
    Index("ix_remote_key_remote_actor_id", "remote_actor_id"),
    sqlite_autoincrement=True,
)

follower = Table(
    "follower",
    metadata,
    _id(),
    _ref("actor_id", "actor"),
    _ref("remote_actor_id", "remote_actor", cascade=True),
    _ref("inbox_id", "inbox"),  # The shared inbox where there is one.
    Column("follow_uri", Text, nullable=False),  # Newest Follow id.
    Column("state", Text, nullable=False),  # accepted, parked
    _ms("at"),
    UniqueConstraint("actor_id", "remote_actor_id"),
    Index("ix_follower_inbox_id", "inbox_id"),
    Index("ix_follower_remote_actor_id", "remote_actor_id"),
    Index("ix_follower_actor_id", "actor_id", "id"),  # The desk's list, the newest first.
    CheckConstraint("state IN ('accepted', 'parked')", name="state"),
    sqlite_autoincrement=True,
)

received = Table(
    "received",
    metadata,
    _id(),
    Column("signer", Text, nullable=False),
    Column("activity_uri", Text, nullable=False),  # Or a synthetic key (federation.md 9.1.7).
    Column("type", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # The bytes whose digest was checked.
    Column("state", Text, nullable=False),  # waiting, done, ignored, held, failed
    Column("attempts", Integer, nullable=False, server_default="0"),
    _ms("not_before"),
    Column("reason", Text, nullable=True),
    _ms("at"),
    UniqueConstraint("signer", "activity_uri"),
    Index(
        "ix_received_waiting",
        "not_before",
        "id",
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
    Index("ix_received_at", "at"),
    Index(
        "ix_received_told",  # The desk's list of what came to nothing, the newest first.
        "id",
        sqlite_where=text("state NOT IN ('waiting', 'done')"),
        postgresql_where=text("state NOT IN ('waiting', 'done')"),
    ),
    sqlite_autoincrement=True,
)

tombstone = Table(
    "tombstone",  # Deletes and Undos that came before what they end (IN-23, RE-8).
    metadata,
    Column("uri", Text, primary_key=True),
    Column("signer", Text, primary_key=True),
    _ms("at"),
)

reply = Table(
    "reply",
    metadata,
    _id(),
    _ref("post_id", "post", cascade=True),
    _ref("parent_id", "reply", nullable=True),
    Column("channel", Text, nullable=False),  # fediverse, email, diaspora
    Column("uri", Text, nullable=False, unique=True),  # Object id, or the mail's Message-ID.
    _ref("remote_actor_id", "remote_actor", nullable=True),
    _ref("subscriber_id", "subscriber", nullable=True),
    _words("author_name"),  # For mail: as written; for actors the actor row is newer.
    Column("content_html", Text, nullable=False),  # Sanitised already.
    Column("url", Text, nullable=True),
    Column("context", Text, nullable=True),  # The conversation as its author's server names it.
    Column("visibility", Text, nullable=False),  # public, unlisted, followers, direct
    Column("state", Text, nullable=False),  # pending, approved, hidden, deleted
    _flag("mention"),  # Not below an issue, only addressed to us.
    _flag("publish_consent"),  # A mail's writer agreed to be shown.
    Column("address", Text, nullable=True),  # A mail's writer: answers go there; never shown.
    _ms("published_at"),
    _ms("updated_at", nullable=True),
    _ms("at"),
    Index("ix_reply_post_id", "post_id", "state", "id"),
    Index("ix_reply_state", "state", "id"),
    Index("ix_reply_address", "address"),
    Index("ix_reply_remote_actor_id", "remote_actor_id"),
    sqlite_autoincrement=True,
)

publish_ask = Table(
    "publish_ask",  # Whether a mail's writer lets it be shown: asked once.
    metadata,
    Column(
        "reply_id",
        _ID,
        ForeignKey("reply.id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("key", LargeBinary, nullable=False, unique=True),  # Of the link in the question.
    Column("text_version", Text, ForeignKey("consent_text.version"), nullable=True),
    _ms("asked_at"),
    _ms("expires_at"),
    _ms("agreed_at", nullable=True),
    _ms("withdrawn_at", nullable=True),
)

reaction = Table(
    "reaction",
    metadata,
    _id(),
    _ref("post_id", "post", cascade=True),
    _ref("remote_actor_id", "remote_actor", cascade=True),
    Column("kind", Text, nullable=False),  # like, announce
    Column("emoji", Text, nullable=True),
    Column("uri", Text, nullable=False),
    _ms("at"),
    UniqueConstraint("post_id", "remote_actor_id", "kind"),
    Index("ix_reaction_uri", "uri"),
    Index("ix_reaction_remote_actor_id", "remote_actor_id"),
    sqlite_autoincrement=True,
)

quote = Table(
    "quote",
    metadata,
    _id(),
    Column("public_id", Text, nullable=False, unique=True),
    _ref("post_id", "post", cascade=True),
    _ref("remote_actor_id", "remote_actor", cascade=True),
    Column("quote_uri", Text, nullable=False),
    _ms("at"),
    _ms("revoked_at", nullable=True),
    UniqueConstraint("post_id", "quote_uri"),
    Index("ix_quote_remote_actor_id", "remote_actor_id"),
    sqlite_autoincrement=True,
)

report = Table(
    "report",
    metadata,
    _id(),
    Column("reporter", Text, nullable=False),
    Column("objects_json", Text, nullable=False),
    _words("comment"),
    _ms("at"),
    _ms("settled_at", nullable=True),
    sqlite_autoincrement=True,
)

block = Table(
    "block",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),  # actor, domain
    Column("value", Text, nullable=False),
    _words("note"),
    _ms("at"),
    UniqueConstraint("kind", "value"),
    CheckConstraint("kind IN ('actor', 'domain')", name="kind"),
    sqlite_autoincrement=True,
)

# --- subjects to come ------------------------------------------------------------------------

subject = Table(
    "subject",
    metadata,
    _id(),
    Column("public_id", Text, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    _words("description"),
    Column("state", Text, nullable=False),  # proposed, open, chosen, declined
    _ref("post_id", "post", nullable=True),  # The letter that was made of it.
    Column("poll_id", _ID, nullable=True),  # The last poll that it stood in; no key.
    _ms("at"),
    sqlite_autoincrement=True,
)
