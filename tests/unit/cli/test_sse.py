from services.cli.sse import ServerSentEvent, read_events


def events(text: str) -> list[ServerSentEvent]:
    return list(read_events(text.splitlines()))


def test_read_events_two_events_yields_both_with_their_ids() -> None:
    found = events('id: 1\nevent: run.started\ndata: {}\n\nid: 2\nevent: x\ndata: {"a":1}\n\n')
    assert found == [ServerSentEvent("run.started", "{}", "1"), ServerSentEvent("x", '{"a":1}', "2")]


def test_read_events_data_on_several_lines_joins_them() -> None:
    assert events("data: one\ndata:two\ndata:  three\n\n") == [
        ServerSentEvent("message", "one\ntwo\n three", "")
    ]


def test_read_events_comments_and_unknown_fields_are_skipped() -> None:
    assert events(": ping\n\nretry: 1000\nfoo\ndata: x\n\n") == [ServerSentEvent("message", "x", "")]


def test_read_events_event_without_data_is_none_and_does_not_name_the_next() -> None:
    assert events("event: a\n\ndata: x\n\n") == [ServerSentEvent("message", "x", "")]


def test_read_events_unfinished_last_event_is_dropped() -> None:
    assert events("data: x\n\ndata: half") == [ServerSentEvent("message", "x", "")]


def test_read_events_id_stays_until_the_next_one() -> None:
    assert [one.id for one in events("id: 7\ndata: x\n\ndata: y\n\n")] == ["7", "7"]
