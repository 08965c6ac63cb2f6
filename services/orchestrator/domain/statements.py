"""Lines of a completion: marks, labels, pleasantries and sentences, in several languages.

What a model writes around a principle (list numbers, markdown, "Sure, here is …", quotes) is
recognised here, and the sentence that is left is the statement.
"""

import re

from services.orchestrator.domain.text import DENSE_SCRIPT, normalise, word_count

SHORT_SENTENCE_CHARS = 40
MAX_SENTENCES = 2
MIN_WORDS = 3
REFUSAL_WINDOW_CHARS = 200

_QUOTES = "\"'“”‘’«»「」『』《》„`"
_END = re.compile(r"(?:[.!?…؟۔।]+[\"'”’»)\]*_]*(?=\s|$)|[。！？｡]+[\"'”’」』》）]*)")
_FINISHED = re.compile(r"[.!…؟۔।。！｡][\"'”’»」』)\]]*$")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|cf|vs|art|no|dr|mr|mrs|ms|st|fig|u\.s|u\.n|approx|para)|\b[A-Z])\.$", re.I
)
_BULLET = re.compile(
    r"^\s*(?:>+\s*|#{1,6}\s+|[-*+•·–—▪●]\s+"
    r"|\(?(?:[0-9\u0660-\u0669]{1,3}|[a-zA-Z]|[ivx]{1,4})[.)、]\s+(?=\S)"
    r"|[0-9\u0660-\u0669]{1,3}[.)、](?=\D)"
    r"|[（(]?[一二三四五六七八九十]{1,3}[）)、]\s*|第[一二三四五六七八九十0-9]{1,3}[,，、:：]\s*)+"
)
_LABEL = re.compile(
    r"^(?:(?:the\s+)?(?:original|aligned|realigned|re-aligned|equivalent|new|revised|rewritten|ethical|guiding)?"
    r"\s*(?:principle|rule|answer|response|output|assistant|commandment)\s*(?:#?\d{1,3})?"
    r"|(?:原则|原則|回答|答案|答)[一二三四五六七八九十\d]{0,3}"
    r"|(?:ال)?(?:مبدأ|إجابة|جواب)[^:：]{0,20})\s*[:：]\s*",
    re.I,
)
_TITLE = re.compile(r"^(?P<title>[^:：.!?。！？؟\"“«]{2,60})[:：]\s*(?P<rest>\S.*)$", re.DOTALL)
_BOLD_LINE = re.compile(r"\W*\*\*[^*]+\*\*\W*")
_PLEASANTRY = re.compile(
    r"^(?:sure|certainly|of course|okay|ok|absolutely|great|thank(?:s| you)|yes|hello|hi|gladly|alright"
    r"|here(?:['’]s| is| are)|the following|below (?:is|are)"
    r"|i(?:['’]m| am) (?:glad|happy|pleased|excited|here|delighted)"
    r"|i(?:['’]d| would) (?:be (?:glad|happy)|love|suggest)|i hope|let(?:['’]s|['’]? me)|this principle"
    r"|当然|好的|以下|下面|没问题|很高兴|當然"
    r"|بالتأكيد|بالطبع|إليك|فيما يلي|حسنا|يسعدني)(?:\b|(?<=[\u3400-\u9fff]))",
    re.I,
)
_REFUSAL = re.compile(
    r"\bi(?:['’]m| am) (?:very |so |really )?sorry\b|^\W*(?:sorry|my apologies|i apologi[sz]e)\b"
    r"|\bi (?:can(?:['’]t|not| not)|won['’]t|will not|am (?:not able|unable)"
    r"|(?:do not|don['’]t) feel comfortable)\s+(?:to\s+)?(?:\w+ly\s+)?"
    r"(?:assist|help|comply|fulfil+|provide|generate|create|write|answer|do|engage|continue|offer|produce|discuss)"
    r"|\bi(?:['’]m| am) (?:not able|unable) to\b|\bi must (?:decline|refuse)\b"
    r"|^\W*(?:很|非常)?(?:抱歉|对不起|對不起)"
    r"|我(?:无法|不能|無法)(?:协助|帮助|提供|回答|生成|满足|協助|幫助|完成)"
    r"|^\W*(?:عذرا|عذراً|آسف|أعتذر)|لا (?:أستطيع|يمكنني) (?:المساعدة|تقديم|الإجابة|مساعدتك)",
    re.I,
)


def is_refusal(text: str) -> bool:
    """Whether a completion begins as a refusal."""
    return bool(_REFUSAL.search(text[:REFUSAL_WINDOW_CHARS]))


def statement_of(line: str) -> tuple[str, bool]:
    """(what the line states, whether it ends as a sentence); ("", False) if it states nothing."""
    bare = strip_marks(line)
    if line.lstrip().startswith("#") or bare.endswith((":", "：")):
        return "", False
    parts = sentences(bare)
    while parts and _PLEASANTRY.match(parts[0]):
        # "Sure, here is one: AI must …" states something behind its colon.
        _, _, rest = parts[0].replace("：", ":").partition(":")
        parts = sentences(strip_marks(rest)) + parts[1:]
    parts = [part for part in parts if not part.rstrip(_QUOTES).endswith(("?", "？", "؟"))]
    if not parts:
        return "", False
    chosen = parts[:1]
    if _size(chosen[0]) < SHORT_SENTENCE_CHARS and len(parts) > 1 and is_finished(parts[1]):
        chosen = parts[:MAX_SENTENCES]
    statement = _unquote(("" if DENSE_SCRIPT.search(chosen[0]) else " ").join(chosen))
    if word_count(statement) < MIN_WORDS:
        return "", False
    return statement, is_finished(statement)


def is_title(line: str, statement: str) -> bool:
    """Whether an unfinished line with others below it is a title: wholly bold, or a few words."""
    return bool(_BOLD_LINE.fullmatch(line.strip())) or word_count(statement) <= 5


def is_finished(text: str) -> bool:
    """Whether the text ends with a full stop of its script, quotes aside."""
    return bool(_FINISHED.search(text))


def sentences(text: str) -> list[str]:
    """Sentences of one line, in scripts with and without spaces; the last may be unfinished."""
    found, start = [], 0
    for match in _END.finditer(text):
        rest = text[match.end() :].lstrip()
        before = text[start : match.end()].rstrip(_QUOTES + ")*_]")
        # "e.g. in hospitals" and "… and so on" go on behind their full stop.
        if rest and match.group().startswith(".") and (_ABBREVIATION.search(before) or rest[0].islower()):
            continue
        found.append(text[start : match.end()].strip())
        start = match.end()
    tail = text[start:].strip()
    return [*found, tail] if tail else found


def strip_marks(line: str) -> str:
    """The line without list marks, emphasis, labels, titles and quotes around it."""
    text, before = line.strip(), ""
    while text != before:
        before = text
        text = _BULLET.sub("", text)
        text = re.sub(r"(\*\*|__|`)", "", text)
        text = re.sub(r"(?<!\w)[*_](?=\S)|(?<=\S)[*_](?!\w)", "", text).strip()
        text = _unquote(_LABEL.sub("", text))
    title = _TITLE.match(text)
    named = title and word_count(title["title"]) <= 4 and word_count(title["rest"]) >= 5
    if title and named and not _PLEASANTRY.match(text):
        text = _unquote(title["rest"].strip())
    return " ".join(text.split())


def same_statement(left: str, right: str) -> bool:
    """Equal but for case, spaces and punctuation."""
    return normalise(left) == normalise(right)


def _unquote(text: str) -> str:
    stripped = text.strip()
    if not stripped or stripped[0] not in _QUOTES:
        return stripped
    inner = stripped[1:]
    closing = max(inner.rfind(quote) for quote in _QUOTES)
    if closing < 0:
        return inner.strip()
    # Only quotes around the whole: a quotation inside a sentence stays.
    around = closing >= len(inner) - 2 and not any(quote in inner[:closing] for quote in '"“”«»「」『』')
    return (inner[:closing] + inner[closing + 1 :]).strip() if around else stripped


def _size(text: str) -> int:
    return len(text) + 2 * len(DENSE_SCRIPT.findall(text))
