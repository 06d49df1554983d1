"""One constant per limit of the security contract (security.md section 10), by its number.

Those that the federation library keeps stand in `federation.limits`, where is said too how an
operator sets another value of any.

Seconds where a name ends in `_SECONDS`, octets where it ends in `_BYTES`; spans of days and hours
are `timedelta`s.
"""

from datetime import UTC, datetime, timedelta

from federation.limits import settle

INBOX_BYTES = 1 << 20  # L-1
HEAD_SECONDS, BODY_SECONDS = 10.0, 30.0  # L-3
PUBLIC_FORM_BYTES = 64 << 10  # L-2
DESK_FORM_BYTES = 1 << 20  # L-2
HEAD_BYTES = 16 << 10  # L-4
HEAD_LINES = 100  # L-4
FORM_FIELDS = 100  # L-5
DUPLICATES_KEPT = timedelta(days=30)  # L-7
NEGATIVE_KEY_CACHE = timedelta(minutes=10)  # L-10
NEGATIVE_KEYS = 10_000  # L-10
KEY_REFRESH = timedelta(minutes=5)  # L-11
KEYS_AT_HAND = 2_000  # Loaded, of those who wrote last.
INBOX_PER_CALLER = (300, timedelta(minutes=5))  # L-14
INBOX_PER_HOST = (1200, timedelta(minutes=5))  # L-15
PAGES_PER_CALLER = (300, timedelta(minutes=5))  # L-16
STRANGERS = 10_000  # FE-16: actors kept who neither follow nor said anything

REMOTE_HTML_BYTES = 32 << 10  # L-20
SANITISER_SECONDS = 1.0  # L-29
REPLIES_PER_ACTOR_HOUR = 30  # L-25
REPLIES_PER_ISSUE = 5000  # L-25
REPLY_DEPTH = 10  # L-26
TAGS = 64  # L-23: of one object, that are read.
REPLY_LINKS, REPLY_MENTIONS = 20, 20  # L-27
COLLECTION_PAGE = 50  # L-28
FOLLOWS_PER_HOST_HOUR = 100  # L-30
NEW_HOSTS_PER_PARENT_DAY = 10  # L-31
MOVE_REST = timedelta(days=7)  # L-32

UPLOAD_BYTES = 10 << 20  # L-50
AUDIO_BYTES = 120 << 20  # An hour and a half of speech at 192 kbit/s
LIST_BYTES = 200 << 20  # IM-6
IMAGE_PIXELS = 40_000_000  # L-51
IMAGE_SIDE = 12_000  # L-52
IMAGE_FRAMES = 200  # L-52
IMAGE_FRAMES_PIXELS = 200_000_000  # L-52: of all frames together
IMAGE_STORED_SIDE = 2560  # L-53
IMAGE_CPU_SECONDS = 15  # L-54
IMAGE_MEMORY_BYTES = 512 << 20  # L-54
MEDIA_QUOTA_BYTES = 5 << 30  # L-55
UPLOADS_PER_PERSON = (200, timedelta(hours=1))  # L-55
FREE_SPACE_BYTES, FREE_SPACE_SHARE = 500 << 20, 0.05  # L-56

SESSION_IDLE = timedelta(hours=8)  # L-60
SESSION_ABSOLUTE = timedelta(days=7)  # L-60
SESSION_FRESH = timedelta(minutes=15)  # L-60
ARGON2_KIB, ARGON2_PASSES, ARGON2_LANES = 64 << 10, 3, 1  # L-61
LOGINS_PER_PREFIX = (10, timedelta(minutes=5))  # L-62
LOGINS_PER_ACCOUNT = (20, timedelta(hours=1))  # L-62
CODES_PER_ATTEMPT = 5  # L-63
CODES_PER_DAY = (20, timedelta(days=1))  # L-63
CHALLENGES_PER_PREFIX = (30, timedelta(minutes=5))  # Passkeys asked for at the door.
ATTEMPT = timedelta(minutes=10)  # What is begun at the door ends.
RECOVERY_CODES = 10  # WE-5
PASSWORD_LENGTH = (12, 1024)  # L-64
RESET_LINK = timedelta(minutes=30)  # L-65
INVITATION = timedelta(days=3)
SETUP_LINK = timedelta(minutes=30)  # WE-22

SUBSCRIBES_PER_PREFIX = (5, timedelta(minutes=10))  # L-70
CONFIRMATIONS_PER_DAY = (1, timedelta(days=1))  # L-71
CONFIRMATIONS_PER_MONTH = (3, timedelta(days=30))  # L-71
CONFIRMATIONS_PER_DOMAIN = (50, timedelta(hours=1))  # L-72
CONFIRMATIONS_PER_SITE = (500, timedelta(hours=1))  # L-73
DOMAIN_SHARE = 0.05  # L-72: of the list; a domain that large is not limited.
CONFIRMATION = timedelta(hours=72)  # L-74
AUTOMATIC_PER_DAY = (5, timedelta(days=1))  # L-75
REMINDERS_PER_DAY = (1, timedelta(days=1))  # email.md 8: "you are subscribed already"
PROPOSALS_PER_PREFIX = (3, timedelta(days=1))  # Own.
LOOK_UPS_PER_PREFIX = (10, timedelta(minutes=10))  # Of accounts in the join box; own.
LOOK_UPS_PER_HOST = (60, timedelta(minutes=10))
SUPPRESSED_PER_MONTH = (1, timedelta(days=30))  # email.md 8: gone or full
UNCONFIRMED_KEPT = timedelta(days=7)  # L-76
UNDO_LEAVE = timedelta(hours=24)  # UN-7
FORM_AGE = (timedelta(seconds=3), timedelta(hours=24))  # OP-1
SHOW_LINK = timedelta(days=30)  # For the writer of a mail to agree that it is shown
DATA_LINK = timedelta(hours=24)  # PR-4
BOUNCED_KEPT = timedelta(days=180)  # L-81
ASK_AFTER = timedelta(days=1003)  # OP-6: 33 months without an act of the person
STAY_ANSWER = timedelta(days=60)  # OP-6
LEFT_KEPT = timedelta(days=5 * 365)  # OP-6: consent events after the end of a subscription

# What comes back (email.md 9).
LMTP_BYTES = 2 << 20
LMTP_MESSAGES = 100  # On one connection.
REPORTS_OLDEST = timedelta(days=60)  # BO-7
REPORTS_KEPT = timedelta(days=30)  # Of what servers said.
HELD_GONE, HELD_INACTIVE = timedelta(days=7), timedelta(days=30)
HELD_BY_GUARD = timedelta(days=3)  # BO-8
COMPLAINTS_WARN, COMPLAINTS_STOP = (2, 0.001), (3, 0.003)  # At least, and of accepted.
ALERTS_PER_DAY = (5, timedelta(days=1))  # L-75

# L-90: ActivityPub, after the first attempt; then a day apart until the last.
ACTIVITY_STEPS = tuple(timedelta(minutes=m) for m in (1, 5, 15, 60, 180, 480, 1440))
ACTIVITY_GIVES_UP = timedelta(days=7)
# L-91: mail, after the first attempt; then a day apart until the last.
MAIL_STEPS = tuple(timedelta(minutes=m) for m in (5, 15, 30, 60, 120, 240, 480, 960))
MAIL_GIVES_UP = timedelta(days=4)
DAILY = timedelta(days=1)
JITTER = 0.2
BLOCKING_US = (5, timedelta(days=7))  # federation.md 6: activities refused with 403; the rest
DORMANT_KEPT = timedelta(days=30)  # Then the followers of a host that never answers are gone.
LANE_REST = tuple(timedelta(minutes=m) for m in (1, 2, 5, 10, 30, 60))

LOGIN_REST = timedelta(minutes=15)  # TR-2
SAME_REFUSALS = 3  # email.md 11.3
UNCERTAIN_HELD = datetime(9000, 1, 1, tzinfo=UTC)  # Until a founder decides (TR-22).

SMTP_GREETING_SECONDS = 60  # L-92
SMTP_COMMAND_SECONDS = 60  # L-92
SMTP_DATA_SECONDS = 120  # L-92
SMTP_BLOCK_SECONDS = 180  # L-92
SMTP_DOT_SECONDS = 600  # L-92
LEASE_SECONDS = 60  # L-93
BEAT_SECONDS = 10  # L-93
MAIL_CONNECTIONS = 4  # L-94
TERMINATION_SECONDS = 25  # RE-14

settle(globals())
