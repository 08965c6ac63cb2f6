"""What people can do with webhooks, once: REST and gRPC are thin faces of ``Webhooks``."""

import asyncio
import secrets
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Any

from services.common.errors import InvalidInputError, NotFoundError, PreconditionError
from services.orchestrator.event_types import EVENT_TYPES, TEST, EventType, WebhookTest
from services.orchestrator.identity import Scope, require
from services.orchestrator.store.webhooks import SqlWebhooks
from services.orchestrator.webhooks.records import Delivery, DeliveryState, Webhook, WebhookState
from services.orchestrator.webhooks.rules import UrlRules, checked_description, checked_event_types
from services.orchestrator.webhooks.signing import SecretBox

MAX_PAGE_SIZE = 200
DEFAULT_OVERLAP_S = 86_400
MAX_OVERLAP_S = 30 * 86_400
MAX_REPLAYED = 1000
_MAX_NUMBER = 2**63 - 1


def _nobody() -> None:
    """The default listener."""


class Webhooks:
    """Makes, changes, tries and removes webhooks; only an admin may. Every method is called from the loop.

    Args:
        store: webhooks and deliveries.
        secrets: makes what deliveries are signed with.
        rules: which URLs may be named.
        on_change: called when something may be due, in the event loop's thread.
    """

    def __init__(
        self,
        store: SqlWebhooks,
        secrets: SecretBox,
        rules: UrlRules,
        on_change: Callable[[], None] = _nobody,
    ) -> None:
        self._store = store
        self._secrets = secrets
        self._rules = rules
        self._on_change = on_change

    async def create(
        self, url: str, event_types: Collection[str], description: str = "", *, paused: bool = False
    ) -> tuple[Webhook, str]:
        """A new webhook and its secret, which cannot be shown again.

        Raises:
            InvalidInputError: a URL, event or text that no webhook can have.
            PreconditionError: there is no key that secrets are made from, or there are too many webhooks.
        """
        principal = require(Scope.ADMIN)
        now = datetime.now(UTC)
        checked = (self._rules.check(url), checked_event_types(event_types), checked_description(description))
        seed = await asyncio.to_thread(self._secrets.new)
        webhook = Webhook(
            f"wh-{secrets.token_hex(6)}",
            *checked,
            state=WebhookState.PAUSED if paused else WebhookState.ACTIVE,
            create_time=now,
            create_by=principal.name,
            update_time=now,
            seed=seed,
        )
        made = await asyncio.to_thread(self._store.add, webhook)
        return made, self._secrets.secret_of(seed)

    async def page(self, page_size: int = 50, page_token: str = "") -> tuple[list[Webhook], str]:
        """Newest first, at most 200, and the next page's token ("" on the last)."""
        return await asyncio.to_thread(self._store.page, _page_size(page_size), page_token)

    async def get(self, webhook_id: str) -> Webhook:
        """NotFoundError if there is none."""
        return await asyncio.to_thread(self._store.get, _id(webhook_id))

    async def update(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        event_types: Collection[str] | None = None,
        description: str | None = None,
        paused: bool | None = None,
    ) -> Webhook:
        """Change what is given. ``paused`` False makes it active, also one that is disabled."""
        require(Scope.ADMIN)
        changes: dict[str, Any] = {}
        if url is not None:
            changes["url"] = self._rules.check(url)
        if event_types is not None:
            changes["event_types"] = checked_event_types(event_types)
        if description is not None:
            changes["description"] = checked_description(description)
        if paused is not None:
            changes["state"] = WebhookState.PAUSED if paused else WebhookState.ACTIVE
        if not changes:
            return await self.get(webhook_id)
        changed = await asyncio.to_thread(self._store.change, _id(webhook_id), **changes)
        self._on_change()
        return changed

    async def delete(self, webhook_id: str) -> None:
        """With its deliveries and dead letters. NotFoundError if there is none."""
        require(Scope.ADMIN)
        await asyncio.to_thread(self._store.delete, _id(webhook_id))

    async def rotate(self, webhook_id: str, overlap_s: int = DEFAULT_OVERLAP_S) -> tuple[Webhook, str]:
        """Another secret; for so many seconds deliveries are signed with the present one too."""
        require(Scope.ADMIN)
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise InvalidInputError(f"overlap_s is 0 to {MAX_OVERLAP_S} seconds (30 days), not {overlap_s}")
        seed = await asyncio.to_thread(self._secrets.new)
        until = datetime.now(UTC) + timedelta(seconds=overlap_s)
        rotated = await asyncio.to_thread(self._store.rotate, _id(webhook_id), seed, until)
        return rotated, self._secrets.secret_of(seed)

    async def test(self, webhook_id: str) -> Delivery:
        """An event ``webhook.test`` that is sent at once, whatever else waits.

        PreconditionError for a webhook that is not active.
        """
        principal = require(Scope.ADMIN)
        found = await self.get(webhook_id)
        if found.state is not WebhookState.ACTIVE:
            raise PreconditionError(
                f"webhook {webhook_id} is {found.state.value} and is sent nothing; make it active first"
            )
        data = WebhookTest(webhook_id=webhook_id, actor=principal.name).model_dump(mode="json")
        delivery = await asyncio.to_thread(self._store.deliveries.add_test, webhook_id, TEST, data)
        self._on_change()
        return delivery

    async def deliveries(
        self,
        webhook_id: str,
        state: DeliveryState | None = None,
        page_size: int = 50,
        page_token: str = "",
    ) -> tuple[list[Delivery], str]:
        """Newest first, at most 200, and the next page's token ("" on the last)."""
        size = _page_size(page_size)
        return await asyncio.to_thread(self._store.deliveries.page, _id(webhook_id), state, size, page_token)

    async def replay(self, webhook_id: str, numbers: Collection[int] = ()) -> int:
        """Send every dead letter, or the deliveries with these numbers, once more; how many.

        NotFoundError for a number that the webhook has not.
        """
        require(Scope.ADMIN)
        if len(numbers) > MAX_REPLAYED or any(not 1 <= number <= _MAX_NUMBER for number in numbers):
            raise InvalidInputError(f"numbers are at most {MAX_REPLAYED} numbers of deliveries, from 1")
        replayed = await asyncio.to_thread(self._store.deliveries.replay, _id(webhook_id), numbers)
        self._on_change()
        return replayed


def event_type(kind: str) -> EventType:
    """NotFoundError if there is no such kind of event."""
    found = EVENT_TYPES.get(kind)
    if found is None:
        raise NotFoundError(f"there is no event {kind[:80]!r}; there are {', '.join(EVENT_TYPES)}")
    return found


def _page_size(page_size: int) -> int:
    if page_size < 1:
        raise InvalidInputError(f"page_size must be from 1 to {MAX_PAGE_SIZE}, not {page_size}")
    return min(page_size, MAX_PAGE_SIZE)


def _id(webhook_id: str) -> str:
    # PostgreSQL refuses a text with NUL in it; no id has one.
    if not webhook_id.isascii() or not webhook_id.replace("-", "").isalnum():
        raise NotFoundError(
            f"there is no webhook {webhook_id[:40]!r}; `valign webhooks list` shows which there are"
        )
    return webhook_id
