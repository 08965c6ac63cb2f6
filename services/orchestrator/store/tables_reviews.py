"""Tables of human reviews: what was frozen, who was given what, and what they said."""

import sqlalchemy as sa

from services.orchestrator.store.tables import UtcDateTime, metadata

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("review_id", sa.String(40), primary_key=True),
    sa.Column("run_id", sa.String(64), sa.ForeignKey("runs.run_id", ondelete="CASCADE"), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("rubric", sa.Text, nullable=False),
    sa.Column("threshold", sa.Float, nullable=False),
    sa.Column("arms", sa.JSON, nullable=False),
    sa.Column("items_per_topic", sa.Integer, nullable=False),
    sa.Column("reviewers_per_item", sa.Integer, nullable=False),
    # As text: a seed may have 64 bits, and a database's integer has 63.
    sa.Column("seed", sa.String(20), nullable=False),
    sa.Column("closing", sa.String(16), nullable=False),
    sa.Column("reviewers", sa.JSON, nullable=False),
    sa.Column("allow_author", sa.Boolean, nullable=False),
    # Who began the run.
    sa.Column("author", sa.String(255), nullable=False),
    sa.Column("items", sa.Integer, nullable=False),
    sa.Column("items_sha256", sa.String(64), nullable=False),
    sa.Column("create_by", sa.String(255), nullable=False),
    sa.Column("create_time", UtcDateTime, nullable=False),
    sa.Column("close_by", sa.String(255), nullable=False),
    sa.Column("close_time", UtcDateTime),
    # Rises with every change: the row that whoever changes something locks first.
    sa.Column("version", sa.BigInteger, nullable=False),
    # Of the closed one: the revision of the report that holds it (0: not written yet), and the new verdict.
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("results", sa.JSON),
    # The idempotency key as the principal's own, hashed, and what it was sent with.
    sa.Column("request_key", sa.String(64), unique=True),
    sa.Column("request_sha256", sa.String(64), nullable=False),
    sa.Index("ix_reviews_create_time_review_id", "create_time", "review_id"),
    sa.Index("ix_reviews_run_id", "run_id"),
)


def _review_id() -> sa.Column[str]:
    return sa.Column(
        "review_id", sa.String(40), sa.ForeignKey("reviews.review_id", ondelete="CASCADE"), primary_key=True
    )


review_items = sa.Table(
    "review_items",
    metadata,
    _review_id(),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("arm", sa.String(64), nullable=False),
    sa.Column("topic_id", sa.String(255), nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("item_index", sa.Integer, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("metric", sa.Float, nullable=False),
)

review_ratings = sa.Table(
    "review_ratings",
    metadata,
    _review_id(),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("reviewer", sa.String(255), primary_key=True),
    # "given", "rated" or "flagged".
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("rating", sa.Integer, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    # The place in the order in which the reviewer got it, from 1.
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("give_time", UtcDateTime, nullable=False),
    sa.Column("rate_time", UtcDateTime),
)
