"""``client.webhooks`` against the real API."""

from typing import Any

import pytest

from services.client import errors
from services.orchestrator.event_types import EVENT_TYPES
from services.orchestrator.store.outbox import announce
from tests.contract.client.conftest import QUICK, Both
from tests.fakes.orchestrator import World

URL = "https://hooks.example.org/valign"


@pytest.fixture
async def client(both: Both, url: str) -> Any:
    made = both.make(url, retry=QUICK)
    yield made
    await both.close(made)


async def test_webhook_from_its_secret_to_its_end(client: Any, both: Both, here: World) -> None:
    made = await both.get(client.webhooks.create(URL, ["run.*"], description="chat"))
    hook = made.webhook
    assert (made.secret[:6], hook.url, hook.state) == ("whsec_", URL, "active")
    sent = await both.get(client.webhooks.test(hook.webhook_id))
    assert (sent.event_type, sent.state) == ("webhook.test", "pending")
    with here.store._engine.begin() as connection:
        announce(connection, "run.ended", "runs/r-1", {"status": "failed"})
    here.store.platform.webhooks.deliveries.fan_out()
    found = await both.get(client.webhooks.deliveries(hook.webhook_id))
    assert [one.event_type for one in found] == ["run.ended", "webhook.test"]
    assert await both.get(client.webhooks.deliveries(hook.webhook_id, "dead")) == []
    assert await both.get(client.webhooks.replay(hook.webhook_id)) == 0
    rotated = await both.get(client.webhooks.rotate_secret(hook.webhook_id, 60))
    assert rotated.secret != made.secret
    paused = await both.get(client.webhooks.update(hook.webhook_id, paused=True))
    assert (paused.state, paused.event_types) == ("paused", ["run.*"])
    with pytest.raises(errors.PreconditionError, match="paused"):
        await both.get(client.webhooks.test(hook.webhook_id))
    assert [one.webhook_id for one in await both.get(client.webhooks.list())] == [hook.webhook_id]
    await both.get(client.webhooks.delete(hook.webhook_id))
    with pytest.raises(errors.NotFoundError):
        await both.get(client.webhooks.get(hook.webhook_id))
    with pytest.raises(errors.InvalidInputError, match="https"):
        await both.get(client.webhooks.create("http://hooks.example.org", ["*"]))


async def test_kinds_of_events_come_with_their_schemas(client: Any, both: Both) -> None:
    kinds = {one.type: one for one in await both.get(client.webhooks.event_types())}
    assert set(kinds) == set(EVENT_TYPES)
    schema = await both.get(client.webhooks.event_schema("run.ended"))
    assert schema == kinds["run.ended"].data_schema
    with pytest.raises(errors.NotFoundError):
        await both.get(client.webhooks.event_schema("run.began"))


async def test_token_of_a_page_of_deliveries_is_of_that_list_alone(
    client: Any, both: Both, here: World
) -> None:
    first = (await both.get(client.webhooks.create(URL, ["*"]))).webhook
    other = (await both.get(client.webhooks.create(URL, ["*"]))).webhook
    for _ in range(2):
        await both.get(client.webhooks.test(first.webhook_id))
    path = f"/webhooks/{first.webhook_id}/deliveries"
    page = (await both.get(client.request("GET", path, params={"page_size": 1}))).json()
    token = page["next_page_token"]
    rest = await both.get(client.request("GET", path, params={"page_token": token}))
    assert [one["number"] for one in page["deliveries"] + rest.json()["deliveries"]] == [2, 1]
    for where, params in ((path, {"state": "dead"}), (f"/webhooks/{other.webhook_id}/deliveries", {})):
        with pytest.raises(errors.InvalidInputError, match="page_token"):
            await both.get(client.request("GET", where, params={**params, "page_token": token}))
