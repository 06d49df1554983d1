"""The hours of each person at the desk; ways from a remote actor to what is about it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("founder", sa.Column("time_zone", sa.Text(), server_default="", nullable=False))
    for table in ("follower", "quote", "reaction", "remote_key", "reply"):
        op.create_index(f"ix_{table}_remote_actor_id", table, ["remote_actor_id"])
