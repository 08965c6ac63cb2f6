"""Human reviews: frozen items, and what reviewers say of them."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "reviews",
        sa.Column("review_id", sa.String(40), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("rubric", sa.Text, nullable=False),
        sa.Column("threshold", sa.Float, nullable=False),
        sa.Column("arms", sa.JSON, nullable=False),
        sa.Column("items_per_topic", sa.Integer, nullable=False),
        sa.Column("reviewers_per_item", sa.Integer, nullable=False),
        sa.Column("seed", sa.String(20), nullable=False),
        sa.Column("closing", sa.String(16), nullable=False),
        sa.Column("reviewers", sa.JSON, nullable=False),
        sa.Column("allow_author", sa.Boolean, nullable=False),
        sa.Column("author", sa.String(255), nullable=False),
        sa.Column("items", sa.Integer, nullable=False),
        sa.Column("items_sha256", sa.String(64), nullable=False),
        sa.Column("create_by", sa.String(255), nullable=False),
        sa.Column("create_time", sa.DateTime, nullable=False),
        sa.Column("close_by", sa.String(255), nullable=False),
        sa.Column("close_time", sa.DateTime),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("results", sa.JSON),
        sa.Column("request_key", sa.String(64)),
        sa.Column("request_sha256", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["runs.run_id"], name="fk_reviews_run_id_runs", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("review_id", name="pk_reviews"),
        sa.UniqueConstraint("request_key", name="uq_reviews_request_key"),
    )
    op.create_index("ix_reviews_create_time_review_id", "reviews", ["create_time", "review_id"])
    op.create_index("ix_reviews_run_id", "reviews", ["run_id"])
    op.create_table(
        "review_items",
        sa.Column("review_id", sa.String(40), nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("arm", sa.String(64), nullable=False),
        sa.Column("topic_id", sa.String(255), nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("item_index", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("metric", sa.Float, nullable=False),
        sa.ForeignKeyConstraint(
            ["review_id"], ["reviews.review_id"], name="fk_review_items_review_id_reviews", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("review_id", "number", name="pk_review_items"),
    )
    op.create_table(
        "review_ratings",
        sa.Column("review_id", sa.String(40), nullable=False),
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("reviewer", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("rating", sa.Integer, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("give_time", sa.DateTime, nullable=False),
        sa.Column("rate_time", sa.DateTime),
        sa.ForeignKeyConstraint(
            ["review_id"],
            ["reviews.review_id"],
            name="fk_review_ratings_review_id_reviews",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("review_id", "number", "reviewer", name="pk_review_ratings"),
    )


def downgrade() -> None:
    """Undo."""
    for table in ("review_ratings", "review_items", "reviews"):
        op.drop_table(table)
