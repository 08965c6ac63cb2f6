"""The stores that serve the platforms around valign, built together over one source of transactions."""

from services.orchestrator.store.outbox import SqlOutbox
from services.orchestrator.store.review_revisions import SqlReviewRevisions
from services.orchestrator.store.reviews import SqlReviews
from services.orchestrator.store.transactions import Transactions


class SqlPlatform:
    """Each attribute is one store. A leader has its own, over transactions that end with its epoch."""

    def __init__(self, transactions: Transactions) -> None:
        self.outbox = SqlOutbox(transactions)
        self.reviews = SqlReviews(transactions)
        self.review_revisions = SqlReviewRevisions(transactions)
