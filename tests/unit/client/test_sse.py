from services.client.sse import EventParser, ServerSentEvent


def events(*chunks: str) -> list[ServerSentEvent]:
    parser = EventParser()
    found = [event for chunk in chunks for event in parser.feed(chunk)]
    return [*found, *parser.end()]


def test_feed_two_events_yields_both_with_their_ids() -> None:
    found = events('id: 1\nevent: run.started\ndata: {}\n\nid: 2\nevent: x\ndata: {"a":1}\n\n')
    assert found == [ServerSentEvent("run.started", "{}", "1"), ServerSentEvent("x", '{"a":1}', "2")]


def test_feed_data_on_several_lines_joins_them() -> None:
    assert events("data: one\ndata:two\ndata:  three\n\n") == [
        ServerSentEvent("message", "one\ntwo\n three", "")
    ]


def test_feed_comments_and_unknown_fields_are_skipped() -> None:
    assert events(": ping\n\nretry: 1000\nfoo\ndata: x\n\n") == [ServerSentEvent("message", "x", "")]


def test_feed_event_without_data_is_none_and_does_not_name_the_next() -> None:
    assert events("event: a\n\ndata: x\n\n") == [ServerSentEvent("message", "x", "")]


def test_feed_unfinished_last_event_is_dropped() -> None:
    assert events("data: x\n\ndata: half") == [ServerSentEvent("message", "x", "")]


def test_feed_id_stays_until_the_next_one() -> None:
    assert [one.id for one in events("id: 7\ndata: x\n\ndata: y\n\n")] == ["7", "7"]


def test_feed_every_line_end_over_chunks_of_any_size_gives_the_same() -> None:
    text = "data: a\ndata: b\r\ndata: c\rdata: d\r\n\ndata: e\n\n"
    for size in range(1, len(text) + 1):
        chunks = [text[start : start + size] for start in range(0, len(text), size)]
        assert [event.data for event in events(*chunks)] == ["a\nb\nc\nd", "e"]


def test_end_last_carriage_return_ends_a_line() -> None:
    assert [event.data for event in events("data: a\r", "\r")] == ["a"]
    assert events("data: a\r") == []


def test_feed_other_line_separators_are_text() -> None:
    data = '{"message":"one\u2028two\u0085three\u000bfour"}'
    assert events(f"data: {data}\n\n") == [ServerSentEvent("message", data, "")]
