"""Webhooks and the kinds of events over gRPC."""

from typing import Any

from services.common.pb.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.api import convert
from services.orchestrator.application import Application
from services.orchestrator.event_types import EVENT_TYPES
from services.orchestrator.webhooks.records import Delivery, DeliveryState, Webhook
from services.orchestrator.webhooks.service import DEFAULT_OVERLAP_S, Webhooks, event_type

_DEFAULT_PAGE_SIZE = 50
_STATES = {
    pb.DELIVERY_STATE_PENDING: DeliveryState.PENDING,
    pb.DELIVERY_STATE_DELIVERED: DeliveryState.DELIVERED,
    pb.DELIVERY_STATE_DEAD: DeliveryState.DEAD,
}


class WebhookServicer:
    """A part of the OrchestratorService."""

    _application: Application

    @property
    def _webhooks(self) -> Webhooks:
        return self._application.platform.webhooks

    async def CreateWebhook(self, request: pb.CreateWebhookRequest, context: Any) -> pb.CreateWebhookResponse:
        """Make a webhook."""
        made, secret = await self._webhooks.create(
            request.url, list(request.event_types), request.description, paused=request.paused
        )
        return pb.CreateWebhookResponse(webhook=_webhook(made), secret=secret)

    async def ListWebhooks(self, request: pb.ListWebhooksRequest, context: Any) -> pb.ListWebhooksResponse:
        """A page of webhooks."""
        found, token = await self._webhooks.page(request.page_size or _DEFAULT_PAGE_SIZE, request.page_token)
        return pb.ListWebhooksResponse(webhooks=[_webhook(one) for one in found], next_page_token=token)

    async def GetWebhook(self, request: pb.GetWebhookRequest, context: Any) -> pb.GetWebhookResponse:
        """One webhook."""
        return pb.GetWebhookResponse(webhook=_webhook(await self._webhooks.get(request.webhook_id)))

    async def UpdateWebhook(self, request: pb.UpdateWebhookRequest, context: Any) -> pb.UpdateWebhookResponse:
        """Change a webhook."""
        changed = await self._webhooks.update(
            request.webhook_id,
            url=request.url if request.HasField("url") else None,
            event_types=list(request.event_types) or None,
            description=request.description if request.HasField("description") else None,
            paused=request.paused if request.HasField("paused") else None,
        )
        return pb.UpdateWebhookResponse(webhook=_webhook(changed))

    async def DeleteWebhook(self, request: pb.DeleteWebhookRequest, context: Any) -> pb.DeleteWebhookResponse:
        """Remove a webhook."""
        await self._webhooks.delete(request.webhook_id)
        return pb.DeleteWebhookResponse()

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, context: Any
    ) -> pb.RotateWebhookSecretResponse:
        """Another secret."""
        overlap_s = request.overlap_s if request.HasField("overlap_s") else DEFAULT_OVERLAP_S
        rotated, secret = await self._webhooks.rotate(request.webhook_id, overlap_s)
        return pb.RotateWebhookSecretResponse(webhook=_webhook(rotated), secret=secret)

    async def TestWebhook(self, request: pb.TestWebhookRequest, context: Any) -> pb.TestWebhookResponse:
        """Send a test."""
        return pb.TestWebhookResponse(delivery=_delivery(await self._webhooks.test(request.webhook_id)))

    async def ListWebhookDeliveries(
        self, request: pb.ListWebhookDeliveriesRequest, context: Any
    ) -> pb.ListWebhookDeliveriesResponse:
        """A page of deliveries."""
        found, token = await self._webhooks.deliveries(
            request.webhook_id,
            _STATES.get(request.state),
            request.page_size or _DEFAULT_PAGE_SIZE,
            request.page_token,
        )
        return pb.ListWebhookDeliveriesResponse(
            deliveries=[_delivery(one) for one in found], next_page_token=token
        )

    async def ReplayWebhookDeliveries(
        self, request: pb.ReplayWebhookDeliveriesRequest, context: Any
    ) -> pb.ReplayWebhookDeliveriesResponse:
        """Send once more."""
        replayed = await self._webhooks.replay(request.webhook_id, list(request.numbers))
        return pb.ReplayWebhookDeliveriesResponse(replayed=replayed)

    async def ListEventTypes(
        self, request: pb.ListEventTypesRequest, context: Any
    ) -> pb.ListEventTypesResponse:
        """Every kind of event."""
        return pb.ListEventTypesResponse(
            event_types=[
                pb.EventType(
                    type=one.kind, description=one.description, data_schema=convert.struct(one.schema())
                )
                for one in EVENT_TYPES.values()
            ]
        )

    async def GetEventType(self, request: pb.GetEventTypeRequest, context: Any) -> pb.GetEventTypeResponse:
        """The schema of one."""
        return pb.GetEventTypeResponse(data_schema=convert.struct(event_type(request.type).schema()))


def _webhook(webhook: Webhook) -> pb.Webhook:
    made = pb.Webhook(
        webhook_id=webhook.webhook_id,
        url=webhook.url,
        event_types=webhook.event_types,
        description=webhook.description,
        state=pb.WebhookState.Value(f"WEBHOOK_STATE_{webhook.state.name}"),
        state_reason=webhook.state_reason,
        create_by=webhook.create_by,
        pending=webhook.pending,
        dead=webhook.dead,
    )
    made.create_time.CopyFrom(convert.timestamp(webhook.create_time))
    made.update_time.CopyFrom(convert.timestamp(webhook.update_time))
    if webhook.former_until is not None:
        made.former_secret_expire_time.CopyFrom(convert.timestamp(webhook.former_until))
    if webhook.last_success_time is not None:
        made.last_success_time.CopyFrom(convert.timestamp(webhook.last_success_time))
    return made


def _delivery(delivery: Delivery) -> pb.WebhookDelivery:
    made = pb.WebhookDelivery(
        webhook_id=delivery.webhook_id,
        number=delivery.number,
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        subject=delivery.subject,
        state=pb.DeliveryState.Value(f"DELIVERY_STATE_{delivery.state.name}"),
        attempts=delivery.attempts,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
        last_answer=delivery.last_answer,
        data=convert.struct(dict(delivery.data)),
    )
    for name in ("event_time", "next_attempt_time", "last_attempt_time", "end_time"):
        if (time := getattr(delivery, name)) is not None:
            getattr(made, name).CopyFrom(convert.timestamp(time))
    return made
