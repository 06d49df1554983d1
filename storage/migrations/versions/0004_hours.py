"""The hours of each person at the desk."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("founder", sa.Column("time_zone", sa.Text(), server_default="", nullable=False))
