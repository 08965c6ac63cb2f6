"""Webhooks and the kinds of events over REST."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, status

from services.common.errors import ErrorCode
from services.orchestrator.api.lists import PageSize, PageToken
from services.orchestrator.api.models_webhooks import (
    CreateWebhookBody,
    EventTypeList,
    EventTypeSummary,
    ReplayBody,
    Replayed,
    RotateSecretBody,
    UpdateWebhookBody,
    WebhookDelivery,
    WebhookDeliveryList,
    WebhookList,
    WebhookSummary,
    WebhookWithSecret,
)
from services.orchestrator.api.problems import problems
from services.orchestrator.application import Application
from services.orchestrator.event_types import EVENT_TYPES
from services.orchestrator.listing import DEFAULT_PAGE_SIZE
from services.orchestrator.webhooks.records import DeliveryState
from services.orchestrator.webhooks.service import event_type

PATH = "/webhooks"
_ONE = f"{PATH}/{{webhook_id}}"
_INVALID, _MISSING, _HELD = ErrorCode.INVALID_INPUT, ErrorCode.NOT_FOUND, ErrorCode.PRECONDITION


def router(application: Application) -> APIRouter:
    """The routes under /v1/webhooks and /v1/event-types."""
    routes = APIRouter(tags=["webhooks"])

    @routes.post(
        PATH,
        summary="Make a webhook",
        operation_id="createWebhook",
        status_code=status.HTTP_201_CREATED,
        responses=problems(_INVALID, _HELD),
    )
    async def create_webhook(body: CreateWebhookBody) -> WebhookWithSecret:
        """Tell an address of events from now on. Its secret is in this answer and nowhere else."""
        made, secret = await application.platform.webhooks.create(
            body.url, body.event_types, body.description, paused=body.paused
        )
        return WebhookWithSecret(webhook=WebhookSummary.of(made), secret=secret)

    @routes.get(PATH, summary="List webhooks", operation_id="listWebhooks", responses=problems(_INVALID))
    async def list_webhooks(
        page_size: PageSize = DEFAULT_PAGE_SIZE, page_token: PageToken = ""
    ) -> WebhookList:
        """The webhooks, without their secrets."""
        found, token = await application.platform.webhooks.page(page_size, page_token)
        return WebhookList(webhooks=[WebhookSummary.of(one) for one in found], next_page_token=token)

    @routes.get(_ONE, summary="Get a webhook", operation_id="getWebhook", responses=problems(_MISSING))
    async def get_webhook(webhook_id: str) -> WebhookSummary:
        """One webhook, without its secret."""
        return WebhookSummary.of(await application.platform.webhooks.get(webhook_id))

    @routes.patch(
        _ONE,
        summary="Change, pause or resume a webhook",
        operation_id="updateWebhook",
        responses=problems(_INVALID, _MISSING),
    )
    async def update_webhook(webhook_id: str, body: UpdateWebhookBody) -> WebhookSummary:
        """Change where, of what, or whether it is told."""
        return WebhookSummary.of(await application.platform.webhooks.update(webhook_id, **body.model_dump()))

    @routes.delete(
        _ONE,
        summary="Delete a webhook",
        operation_id="deleteWebhook",
        status_code=status.HTTP_204_NO_CONTENT,
        responses=problems(_MISSING),
    )
    async def delete_webhook(webhook_id: str) -> None:
        """Remove it with its deliveries and dead letters."""
        await application.platform.webhooks.delete(webhook_id)

    @routes.post(
        f"{_ONE}/rotate-secret",
        summary="Give a webhook another secret",
        operation_id="rotateWebhookSecret",
        responses=problems(_INVALID, _MISSING, _HELD),
    )
    async def rotate_webhook_secret(webhook_id: str, body: RotateSecretBody) -> WebhookWithSecret:
        """Deliveries carry a signature of the present secret too, for a while."""
        rotated, secret = await application.platform.webhooks.rotate(webhook_id, body.overlap_s)
        return WebhookWithSecret(webhook=WebhookSummary.of(rotated), secret=secret)

    @routes.post(
        f"{_ONE}/test",
        summary="Try a webhook",
        operation_id="testWebhook",
        status_code=status.HTTP_202_ACCEPTED,
        responses=problems(_MISSING, _HELD),
    )
    async def test_webhook(webhook_id: str) -> WebhookDelivery:
        """Send an event `webhook.test`; its delivery tells what came of it."""
        return WebhookDelivery.of(await application.platform.webhooks.test(webhook_id))

    @routes.get(
        f"{_ONE}/deliveries",
        summary="List a webhook's deliveries",
        operation_id="listWebhookDeliveries",
        responses=problems(_INVALID, _MISSING),
    )
    async def list_webhook_deliveries(
        webhook_id: str,
        state: Annotated[
            DeliveryState | None, Query(description="Only these; `dead` for the dead letters.")
        ] = None,
        page_size: PageSize = DEFAULT_PAGE_SIZE,
        page_token: PageToken = "",
    ) -> WebhookDeliveryList:
        """What was, or will be, sent to it, newest first."""
        found, token = await application.platform.webhooks.deliveries(
            webhook_id, state, page_size, page_token
        )
        return WebhookDeliveryList(
            deliveries=[WebhookDelivery.of(one) for one in found], next_page_token=token
        )

    @routes.post(
        f"{_ONE}/replay",
        summary="Send dead letters once more",
        operation_id="replayWebhookDeliveries",
        responses=problems(_INVALID, _MISSING),
    )
    async def replay_webhook_deliveries(webhook_id: str, body: ReplayBody) -> Replayed:
        """Dead letters, or the deliveries that are named, are sent again under the same event ids."""
        return Replayed(replayed=await application.platform.webhooks.replay(webhook_id, body.numbers))

    @routes.get(
        "/event-types", summary="List kinds of events", operation_id="listEventTypes", responses=problems()
    )
    async def list_event_types() -> EventTypeList:
        """Every kind of event that webhooks are told of."""
        return EventTypeList(event_types=[EventTypeSummary.of(one) for one in EVENT_TYPES.values()])

    @routes.get(
        "/event-types/{type}",
        summary="Get the schema of an event",
        operation_id="getEventType",
        responses=problems(_MISSING),
    )
    async def get_event_type(type: str) -> dict[str, Any]:
        """JSON Schema of the event's data: where the attribute `dataschema` points."""
        return event_type(type).schema()

    return routes
