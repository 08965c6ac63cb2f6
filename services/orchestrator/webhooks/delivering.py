"""The leader's work: turn what the outbox tells into deliveries, and send those that are due.

Nothing is remembered between steps but what the database holds. A delivery whose outcome was not written, as
its process was killed or lost the lead, is sent again under the same id: at least once, never lost.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from services.common.errors import ValignError
from services.orchestrator.records import LeadershipLost
from services.orchestrator.registry.ticking import Ticker
from services.orchestrator.store.deliveries import SqlDeliveries
from services.orchestrator.webhooks import metrics
from services.orchestrator.webhooks.records import Attempt, Delivery, Webhook
from services.orchestrator.webhooks.retrying import Retrying
from services.orchestrator.webhooks.rules import host_of
from services.orchestrator.webhooks.sending import Sender

log = structlog.get_logger(__name__)

TIDY_EVERY = timedelta(hours=1)


class Deliverer:
    """Sends while this process leads.

    Args:
        store: the deliveries, over transactions that end with the leader's epoch.
        sender: makes an attempt.
        retrying: when to try again.
        concurrency: attempts at once; of one webhook there is one at a time, so that order is kept.
        keep: how long what was delivered, and events that everybody has read, are kept.
        interval_s: seconds between two looks, at most.
    """

    def __init__(
        self,
        store: SqlDeliveries,
        sender: Sender,
        retrying: Retrying,
        concurrency: int = 16,
        keep: timedelta = timedelta(days=7),
        interval_s: float = 1.0,
    ) -> None:
        self._store = store
        self._sender = sender
        self._retrying = retrying
        self._concurrency = concurrency
        self._keep = keep
        self._in_flight: dict[str, asyncio.Task[None]] = {}
        self._tidied: datetime | None = None
        self._ticker = Ticker("webhooks", self.step, interval_s)

    def nudge(self) -> None:
        """Look now. From the event loop's thread."""
        self._ticker.nudge()

    async def lead(self, epoch: int) -> None:
        """Until cancelled. What is being sent then is cut, and sent again by whoever leads next."""
        try:
            await self._ticker.lead(epoch)
        finally:
            # The next leader tells of the backlog; what this process knew of it would stand for ever.
            for gauge in (metrics.PENDING, metrics.DEAD, metrics.OLDEST_PENDING_S):
                gauge.set(0)
            sending = list(self._in_flight.values())
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    async def step(self) -> None:
        """Fan out, and begin to send what is due and not being sent; does not wait for receivers."""
        while read := await asyncio.to_thread(self._store.fan_out):
            metrics.FANNED_OUT.inc(read)
        now = datetime.now(UTC)
        # What is being sent now may be over by the time of the answer, which would then be of before that.
        busy = set(self._in_flight)
        # More than are sent: those that are in flight are among them.
        due = await asyncio.to_thread(
            self._store.due, now, self._retrying.in_order_attempts, 2 * self._concurrency
        )
        for webhook, delivery in due:
            free = len(self._in_flight) < self._concurrency
            if free and webhook.webhook_id not in busy:
                task = asyncio.create_task(self._send(webhook, delivery))
                self._in_flight[webhook.webhook_id] = task
        await self._tell(now)
        if self._tidied is None or now - self._tidied >= TIDY_EVERY:
            forgotten, events = await asyncio.to_thread(self._store.tidy, now - self._keep)
            self._tidied = now
            if forgotten or events:
                log.info("webhooks.tidied", deliveries=forgotten, events=events)

    async def settled(self) -> None:
        """Wait for the attempts that have begun."""
        await asyncio.gather(*self._in_flight.values())

    async def _send(self, webhook: Webhook, delivery: Delivery) -> None:
        try:
            await self._record(webhook, delivery, await self._attempt(webhook, delivery))
        except LeadershipLost as lost:
            log.warning("webhook.outcome_not_kept", **_where(webhook, delivery), reason=str(lost))
        except ValignError as error:
            log.warning("webhook.outcome_not_kept", **_where(webhook, delivery), reason=error.message)
        else:
            # At once: the next delivery of this webhook may be due.
            self._ticker.nudge()
        finally:
            self._in_flight.pop(webhook.webhook_id, None)

    async def _attempt(self, webhook: Webhook, delivery: Delivery) -> Attempt:
        try:
            return await self._sender.send(webhook, delivery)
        except Exception:
            # A fault of ours counts as an attempt, or it would be met again each second.
            log.exception("webhook.not_sent", **_where(webhook, delivery))
            return Attempt(error="it could not be sent; the orchestrator's log says why")

    async def _record(self, webhook: Webhook, delivery: Delivery, attempt: Attempt) -> None:
        now = datetime.now(UTC)
        next_time = self._retrying.next_time(delivery, attempt, now) if attempt.error else None
        kept = await asyncio.to_thread(self._store.record, delivery, attempt, now, next_time)
        outcome = "delivered" if not attempt.error else "retried" if next_time else "dead"
        if kept:
            metrics.ATTEMPTS.labels(outcome).inc()
        tell = log.info if outcome == "delivered" else log.warning
        tell(
            "webhook.attempted",
            **_where(webhook, delivery),
            outcome=outcome,
            status=attempt.status,
            error=attempt.error,
            attempt=delivery.attempts + 1,
            kept=kept,
        )

    async def _tell(self, now: datetime) -> None:
        backlog = await asyncio.to_thread(self._store.backlog)
        metrics.PENDING.set(backlog.pending)
        metrics.DEAD.set(backlog.dead)
        age_s = (now - backlog.oldest).total_seconds() if backlog.oldest else 0.0
        metrics.OLDEST_PENDING_S.set(max(0.0, age_s))


def _where(webhook: Webhook, delivery: Delivery) -> dict[str, object]:
    # Not the URL: its path may hold a token of the receiver's.
    return {
        "webhook_id": webhook.webhook_id,
        "host": host_of(webhook.url),
        "number": delivery.number,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
    }
