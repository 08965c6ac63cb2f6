"""``SqlWebhooks``: the addresses that are told of events, on SQLAlchemy Core. It sees no secret."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.common.errors import PreconditionError
from services.orchestrator.identity import current_principal
from services.orchestrator.listing import Page
from services.orchestrator.store.audit import append_audit
from services.orchestrator.store.deliveries import SqlDeliveries
from services.orchestrator.store.paging import read_page
from services.orchestrator.store.tables_platform import outbox_head
from services.orchestrator.store.tables_webhooks import webhook_deliveries, webhooks
from services.orchestrator.store.transactions import Transactions
from services.orchestrator.store.webhook_rows import COUNTS, missing, webhook_of
from services.orchestrator.webhooks.records import SecretSeed, Webhook, WebhookState
from services.orchestrator.webhooks.rules import host_of

MAX_WEBHOOKS = 100
"""Each event is compared with each of them, and each may wait for a receiver of its own."""


class SqlWebhooks:
    """Every method is one short transaction, from any thread."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self.deliveries = SqlDeliveries(transactions)

    def add(self, webhook: Webhook) -> Webhook:
        """Insert, and tell the audit log; it is told of what happens from now on.

        PreconditionError if there are as many as there may be.
        """
        with self._transactions.begin() as connection:
            # The write comes first: two of them queue on a lock. Events that are announced right now are new.
            row = {**_columns(webhook), "from_sequence": 0, "last_delivery": 0}
            connection.execute(sa.insert(webhooks).values(**row))
            count = connection.execute(sa.select(sa.func.count()).select_from(webhooks)).scalar_one()
            if count > MAX_WEBHOOKS:
                raise PreconditionError(
                    f"there are {MAX_WEBHOOKS} webhooks already, which is the most; delete one first"
                )
            head = int(connection.execute(sa.select(outbox_head.c.sequence)).scalar_one())
            this = webhooks.c.webhook_id == webhook.webhook_id
            connection.execute(sa.update(webhooks).where(this).values(from_sequence=head))
            details = {"host": host_of(webhook.url), "event_types": list(webhook.event_types)}
            append_audit(connection, "webhook.create", "webhook", webhook.webhook_id, details)
        return replace(webhook, from_sequence=head)

    def get(self, webhook_id: str) -> Webhook:
        """NotFoundError if there is none."""
        with self._transactions.connect() as connection:
            return _read(connection, webhook_id)

    def page(self, page_size: int, page_token: str = "") -> tuple[list[Webhook], str]:
        """Newest first, and the next page's token ("" on the last)."""
        by = (webhooks.c.create_time, webhooks.c.webhook_id)
        page = Page(page_size, page_token)
        with self._transactions.connect() as connection:
            return read_page(connection, COUNTS, by, page, {}, webhook_of)

    def change(self, webhook_id: str, **columns: Any) -> Webhook:
        """Set ``url``, ``event_types``, ``description`` or ``state``, and tell the audit log which."""
        if "event_types" in columns:
            columns["event_types"] = list(columns["event_types"])
        if "state" in columns:
            columns["state"] = WebhookState(columns["state"]).value
            columns["state_reason"] = ""
        details = {
            name: host_of(value) if name == "url" else value
            for name, value in columns.items()
            if name in ("url", "event_types", "state")
        }
        with self._transactions.begin() as connection:
            _update(connection, webhook_id, update_time=datetime.now(UTC), **columns)
            append_audit(connection, "webhook.update", "webhook", webhook_id, details)
            return _read(connection, webhook_id)

    def rotate(self, webhook_id: str, seed: SecretSeed, until: datetime) -> Webhook:
        """Another secret; the present one counts until a moment, and one before that no longer."""
        with self._transactions.begin() as connection:
            _update(
                connection,
                webhook_id,
                former_nonce=webhooks.c.nonce,
                former_key_id=webhooks.c.key_id,
                former_until=until,
                nonce=seed.nonce,
                key_id=seed.key_id,
                update_time=datetime.now(UTC),
            )
            details = {"former_until": until.isoformat()}
            append_audit(connection, "webhook.rotate_secret", "webhook", webhook_id, details)
            return _read(connection, webhook_id)

    def delete(self, webhook_id: str) -> None:
        """With its deliveries. NotFoundError if there is none."""
        with self._transactions.begin() as connection:
            # By hand, and not by the foreign key alone: the count is for the audit log.
            theirs = webhook_deliveries.c.webhook_id == webhook_id
            deliveries = connection.execute(sa.delete(webhook_deliveries).where(theirs)).rowcount
            gone = connection.execute(sa.delete(webhooks).where(webhooks.c.webhook_id == webhook_id))
            if gone.rowcount == 0:
                raise missing(webhook_id)
            append_audit(connection, "webhook.delete", "webhook", webhook_id, {"deliveries": deliveries})


def _columns(webhook: Webhook) -> dict[str, Any]:
    return {
        "webhook_id": webhook.webhook_id,
        "url": webhook.url,
        "event_types": list(webhook.event_types),
        "description": webhook.description,
        "state": webhook.state.value,
        "state_reason": webhook.state_reason,
        "create_time": webhook.create_time,
        "create_by": current_principal().name,
        "update_time": webhook.update_time,
        "nonce": webhook.seed.nonce,
        "key_id": webhook.seed.key_id,
        "former_nonce": "",
        "former_key_id": "",
    }


def _update(connection: sa.Connection, webhook_id: str, **columns: Any) -> None:
    this = webhooks.c.webhook_id == webhook_id
    if connection.execute(sa.update(webhooks).where(this).values(**columns)).rowcount == 0:
        raise missing(webhook_id)


def _read(connection: sa.Connection, webhook_id: str) -> Webhook:
    row = connection.execute(COUNTS.where(webhooks.c.webhook_id == webhook_id)).first()
    if row is None:
        raise missing(webhook_id)
    return webhook_of(row)
