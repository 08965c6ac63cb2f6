"""The stores that serve the platforms around valign, built together over one source of transactions."""

from services.orchestrator.store.live import SqlLive
from services.orchestrator.store.measuring import SqlMeasuring
from services.orchestrator.store.monitors import SqlMonitors
from services.orchestrator.store.outbox import SqlOutbox
from services.orchestrator.store.review_revisions import SqlReviewRevisions
from services.orchestrator.store.reviews import SqlReviews
from services.orchestrator.store.tracking import SqlTracking
from services.orchestrator.store.transactions import Transactions
from services.orchestrator.store.webhooks import SqlWebhooks


class SqlPlatform:
    """Each attribute is one store. A leader has its own, over transactions that end with its epoch."""

    def __init__(self, transactions: Transactions, *, require_approval: bool = False) -> None:
        self.outbox = SqlOutbox(transactions)
        self.webhooks = SqlWebhooks(transactions)
        self.tracking = SqlTracking(transactions)
        self.monitors = SqlMonitors(transactions)
        self.live = SqlLive(transactions)
        self.measuring = SqlMeasuring(transactions)
        self.reviews = SqlReviews(transactions)
        self.review_revisions = SqlReviewRevisions(transactions, require_approval=require_approval)
