"""What the founders' accounts, the agenda and the readers' site need.

Columns are added one by one: SQLite then copies no table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _showing_mail()
    _received()
    _cards()
    _accounts()
    _lists_that_come_in()
    _subjects()
    _embedded_images()
    _probes()


def _showing_mail() -> None:
    op.create_table(
        "publish_ask",
        sa.Column("reply_id", _ID, autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("text_version", sa.Text(), nullable=True),
        sa.Column("asked_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("agreed_at", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("reply_id", name=op.f("pk_publish_ask")),
        sa.UniqueConstraint("key", name=op.f("uq_publish_ask_key")),
        sa.ForeignKeyConstraint(
            ["reply_id"],
            ["reply.id"],
            name=op.f("fk_publish_ask_reply_id_reply"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["text_version"],
            ["consent_text.version"],
            name=op.f("fk_publish_ask_text_version_consent_text"),
        ),
    )


def _received() -> None:
    told = sa.text("state NOT IN ('waiting', 'done')")
    op.create_index(
        "ix_received_told", "received", ["id"], sqlite_where=told, postgresql_where=told
    )


def _accounts() -> None:
    op.create_table(
        "attempt",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("founder_id", _ID, nullable=True),
        sa.Column("session_hash", sa.LargeBinary(), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_attempt")),
        sa.ForeignKeyConstraint(
            ["founder_id"],
            ["founder.id"],
            name=op.f("fk_attempt_founder_id"),
            ondelete="CASCADE",
        ),
    )


def _lists_that_come_in() -> None:
    op.create_table(
        "intake",
        sa.Column("id", _ID, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("founder_id", _ID, nullable=True),
        sa.Column("wish_json", sa.Text(), nullable=False),
        sa.Column("report_json", sa.Text(), server_default="{}", nullable=False),
        sa.Column("problem_json", sa.Text(), nullable=True),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cursor", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_intake")),
        sa.UniqueConstraint("token", name=op.f("uq_intake_token")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_intake_state", "intake", ["state"])


def _cards() -> None:
    for name in ("card_title", "card_description"):
        op.add_column("post", sa.Column(name, sa.Text(), server_default="", nullable=False))


def _subjects() -> None:
    # Votes are those of a poll, for readers by mail too; who proposed a subject is not kept.
    op.drop_table("subject_vote")
    op.drop_column("subject", "proposed_by")
    op.add_column("subject", sa.Column("poll_id", _ID, nullable=True))


def _embedded_images() -> None:
    op.add_column(
        "post",
        sa.Column("embeds_images", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )


def _probes() -> None:
    op.create_table(
        "probe",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("head", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_probe")),
    )
