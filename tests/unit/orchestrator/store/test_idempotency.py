"""Answers under idempotency keys on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from services.orchestrator.idempotency import CLAIM_S, Found, KeptAnswer
from services.orchestrator.store import SqlRunStore
from services.orchestrator.store.tables_idempotency import idempotent_answers

ANSWER = KeptAnswer(200, {"content-type": "application/json"}, b'{"a":1}')


def _age(store: SqlRunStore, **columns: datetime) -> None:
    with store._engine.begin() as connection:
        connection.execute(sa.update(idempotent_answers).values(**columns))


def test_claim_then_keep_gives_the_answer_to_whoever_asks_again(store: SqlRunStore) -> None:
    book = store.idempotency
    assert book.claim("k", "request", "me") is None
    assert book.claim("k", "request", "other") == Found("request", None)
    book.keep("k", "me", ANSWER)
    assert book.claim("k", "request", "other") == Found("request", ANSWER)
    assert book.claim("k", "another request", "other") == Found("request", ANSWER)


def test_release_frees_the_key_and_only_for_its_claimant(store: SqlRunStore) -> None:
    book = store.idempotency
    book.claim("k", "request", "me")
    book.release("k", "somebody else")
    assert book.claim("k", "request", "other") is not None
    book.release("k", "me")
    assert book.claim("k", "another request", "other") is None


def test_claim_that_is_not_renewed_is_taken_over_by_the_same_request_alone(store: SqlRunStore) -> None:
    book = store.idempotency
    book.claim("k", "request", "dead")
    _age(store, claim_time=datetime.now(UTC) - timedelta(seconds=CLAIM_S + 1))
    assert book.claim("k", "another request", "other") == Found("request", None)
    assert book.claim("k", "request", "heir") is None
    book.keep("k", "dead", ANSWER)
    assert book.claim("k", "request", "other") == Found("request", None)


def test_renewed_claim_is_not_taken_over(store: SqlRunStore) -> None:
    book = store.idempotency
    book.claim("k", "request", "slow")
    _age(store, claim_time=datetime.now(UTC) - timedelta(seconds=CLAIM_S + 1))
    book.renew("k", "slow")
    assert book.claim("k", "request", "other") == Found("request", None)


def test_answer_past_its_time_is_forgotten(store: SqlRunStore) -> None:
    book = store.idempotency
    book.claim("k", "request", "me")
    book.keep("k", "me", ANSWER)
    _age(store, expire_time=datetime.now(UTC) - timedelta(seconds=1))
    assert book.claim("k", "another request", "other") is None


def test_answer_without_a_body_is_kept_as_such(store: SqlRunStore) -> None:
    book = store.idempotency
    book.claim("k", "request", "me")
    book.keep("k", "me", KeptAnswer(201))
    assert book.claim("k", "request", "other") == Found("request", KeptAnswer(201, {}, None))


def test_claim_of_many_at_once_is_one_claim(store: SqlRunStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: store.idempotency.claim("k", "r", f"c{number}"), range(8)))
    assert found.count(None) == 1
