from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.common.errors import InvalidInputError, NotFoundError, UnauthenticatedError
from services.orchestrator.access.keys import MAX_LIFETIME_S, ApiKeys, new_key, secret_sha256
from services.orchestrator.identity import Scope
from services.orchestrator.store.sql import SqlRunStore
from tests.fakes.orchestrator import migrated_store


@pytest.fixture
def store(tmp_path: Path) -> SqlRunStore:
    return migrated_store(tmp_path)[0]


def test_new_key_is_spelt_so_that_its_parts_are_found_and_only_a_hash_is_kept() -> None:
    for _ in range(50):
        key, token, digest = new_key("ci", ["run"], 0, create_by="me")
        begin, key_id, secret = token.split("_", 2)
        assert (begin, key_id, len(secret)) == ("valign", key.key_id, 43)
        assert secret_sha256(secret) == digest
    assert key.expire_time is not None
    assert key.expire_time - key.create_time == timedelta(days=90)


@pytest.mark.parametrize("name", ["", " x", "x" * 81, "a\nb", "é", "a|b", "key:x"])
def test_new_key_name_that_no_key_has_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="name"):
        new_key(name, ["read"], 0, create_by="me")


def test_new_key_scopes_and_lifetime_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="read, run, approve, promote, admin"):
        new_key("x", [], 0, create_by="me")
    with pytest.raises(InvalidInputError, match="'root'"):
        new_key("x", ["read", "root"], 0, create_by="me")
    for lifetime_s in (-1, MAX_LIFETIME_S + 1):
        with pytest.raises(InvalidInputError, match="lifetime_s"):
            new_key("x", ["read"], lifetime_s, create_by="me")


async def test_principal_of_right_token_and_of_every_wrong_one(store: SqlRunStore) -> None:
    keys = ApiKeys(store.api_keys)
    key, token = await keys.create("ci", ["run", "read"], create_by="me")
    found = await keys.principal_of(token)
    assert (found.name, found.scopes) == ("key:ci", {Scope.RUN, Scope.READ})
    for wrong in (
        token[:-1],
        token + "A",
        token.upper(),
        token.replace(key.key_id, "0" * 12),
        "",
        "valign__",
    ):
        with pytest.raises(UnauthenticatedError, match="not valid"):
            await keys.principal_of(wrong)
    store.close()


async def test_last_use_is_written_at_most_once_a_minute(store: SqlRunStore) -> None:
    keys = ApiKeys(store.api_keys)
    _, token = await keys.create("ci", ["run"], create_by="me")
    await keys.principal_of(token)
    first = (await keys.list())[0].last_use_time
    assert first is not None
    await keys.principal_of(token)
    assert (await keys.list())[0].last_use_time == first
    later = datetime.now(UTC) + timedelta(seconds=90)
    keys._check(token, later)
    assert (await keys.list())[0].last_use_time == later
    store.close()


async def test_expired_and_revoked_keys_are_refused_and_say_so_to_their_holder(store: SqlRunStore) -> None:
    keys = ApiKeys(store.api_keys)
    key, token = await keys.create("ci", ["run"], 60, create_by="me")
    with pytest.raises(UnauthenticatedError, match="expired"):
        keys._check(token, datetime.now(UTC) + timedelta(seconds=61))
    ended = await keys.revoke(key.key_id)
    assert (await keys.revoke(key.key_id)).revoke_time == ended.revoke_time
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await keys.principal_of(token)
    for key_id in ("", "none", "\x00", "x" * 500):
        with pytest.raises(NotFoundError):
            await keys.revoke(key_id)
    actions = [entry.action for entry in store.audit_log.entries()]
    assert actions == ["api_key.create", "api_key.revoke"]
    assert token.split("_", 2)[2] not in str(store.audit_log.entries())
    store.close()
