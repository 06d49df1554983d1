"""What federation, mail, delivery and the desk need beside the baseline.

Columns are added one by one: SQLite then copies no table.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("post", sa.Column("hashtags", sa.Text(), server_default="", nullable=False))
    op.add_column("reply", sa.Column("context", sa.Text(), nullable=True))
    op.create_table(
        "ask",
        sa.Column("id", _ID, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("wish_json", sa.Text(), server_default="{}", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ask")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_ask_not_before", "ask", ["not_before"])
    op.create_index("ix_follower_actor_id", "follower", ["actor_id", "id"])
    _outgoing_mail()
    _coming_back()


def _outgoing_mail() -> None:
    op.add_column(
        "newsletter", sa.Column("digest_month", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column("mailing", sa.Column("posts_json", sa.Text(), nullable=True))
    op.add_column("delivery", sa.Column("variant", sa.BigInteger(), nullable=True))
    op.create_table(
        "dkim_key",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("selector", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("sealed_private", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("used_since", sa.BigInteger(), nullable=True),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dkim_key")),
        sa.UniqueConstraint("selector", name=op.f("uq_dkim_key_selector")),
    )


def _coming_back() -> None:
    op.create_index(
        "ix_delivery_message_id",
        "delivery",
        ["message_id"],
        sqlite_where=sa.text("message_id IS NOT NULL"),
        postgresql_where=sa.text("message_id IS NOT NULL"),
    )
    op.add_column("reply", sa.Column("address", sa.Text(), nullable=True))
    op.create_index("ix_reply_address", "reply", ["address"])
