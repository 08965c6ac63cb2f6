"""The table of embedding rows that are kept: a cache, which may be emptied at any time."""

import sqlalchemy as sa

from services.orchestrator.store.tables import metadata

embedding_rows = sa.Table(
    "embedding_rows",
    metadata,
    # Of the encoder: sha256 over its files and precision.
    sa.Column("fingerprint", sa.String(64), primary_key=True),
    # Of the exact text in UTF-8. The text itself is not kept.
    sa.Column("text_sha256", sa.String(64), primary_key=True),
    sa.Column("dimension", sa.Integer, nullable=False),
    sa.Column("truncated", sa.Boolean, nullable=False),
    # float32, little endian.
    sa.Column("row_bytes", sa.LargeBinary, nullable=False),
    # sha256 over everything above.
    sa.Column("check_sha256", sa.LargeBinary, nullable=False),
    # Seconds since 1970, right to the hour.
    sa.Column("used_time_s", sa.BigInteger, nullable=False),
    # With the dimension in it: the size is summed, and the oldest are found, without reading a row.
    sa.Index("ix_embedding_rows_used_time_s", "used_time_s", "dimension"),
)
