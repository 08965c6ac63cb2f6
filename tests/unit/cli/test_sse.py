from services.cli.sse import ServerSentEvent, read_events, split_lines


def events(text: str) -> list[ServerSentEvent]:
    return list(read_events(split_lines([text])))


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


def test_split_lines_every_line_end_over_chunks_of_any_size() -> None:
    text = "a\nb\r\nc\rd\r\n\ne\n"
    for size in range(1, len(text) + 1):
        chunks = [text[start : start + size] for start in range(0, len(text), size)]
        assert list(split_lines(chunks)) == ["a", "b", "c", "d", "", "e"]


def test_split_lines_last_line_without_end_is_given() -> None:
    assert list(split_lines(["a\n", "b"])) == ["a", "b"]
    assert list(split_lines(["a\r"])) == ["a"]


def test_read_events_other_line_separators_are_text() -> None:
    data = '{"message":"one\u2028two\u0085three\u000bfour"}'
    assert events(f"data: {data}\n\n") == [ServerSentEvent("message", data, "")]
