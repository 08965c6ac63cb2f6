"""Rows of webhooks and deliveries as records, for whoever has a transaction open."""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from services.common.errors import NotFoundError
from services.orchestrator.store.tables_webhooks import webhook_deliveries, webhooks
from services.orchestrator.webhooks.records import (
    Delivery,
    DeliveryState,
    SecretSeed,
    Webhook,
    WebhookState,
)

DELIVERIES = sa.select(*webhook_deliveries.columns)


def _count(state: DeliveryState) -> sa.Label[int]:
    of_it = sa.and_(
        webhook_deliveries.c.webhook_id == webhooks.c.webhook_id, webhook_deliveries.c.state == state.value
    )
    count = sa.select(sa.func.count()).select_from(webhook_deliveries).where(of_it)
    return count.scalar_subquery().label(state.value)


COUNTS = sa.select(*webhooks.columns, _count(DeliveryState.PENDING), _count(DeliveryState.DEAD))
"""Webhooks with the numbers of their deliveries."""


def webhook_of(row: Any) -> Webhook:
    """A row of ``COUNTS``, or of the table alone; a former secret that has ended is left out."""
    columns = row._mapping
    until = columns["former_until"]
    former = until is not None and until > datetime.now(UTC)
    return Webhook(
        webhook_id=columns["webhook_id"],
        url=columns["url"],
        event_types=tuple(columns["event_types"]),
        description=columns["description"],
        state=WebhookState(columns["state"]),
        state_reason=columns["state_reason"],
        create_time=columns["create_time"],
        create_by=columns["create_by"],
        update_time=columns["update_time"],
        seed=SecretSeed(columns["nonce"], columns["key_id"]),
        former_seed=SecretSeed(columns["former_nonce"], columns["former_key_id"]) if former else None,
        former_until=until if former else None,
        from_sequence=columns["from_sequence"],
        last_success_time=columns["last_success_time"],
        pending=int(columns.get("pending", 0)),
        dead=int(columns.get("dead", 0)),
    )


def delivery_of(row: sa.Row[Any]) -> Delivery:
    """A row of ``DELIVERIES``."""
    columns = dict(row._mapping)
    return Delivery(**{**columns, "state": DeliveryState(columns["state"])})


def missing(webhook_id: str) -> NotFoundError:
    """The error for an id that no webhook has."""
    return NotFoundError(
        f"there is no webhook {webhook_id[:40]!r}; `valign webhooks list` shows which there are"
    )
