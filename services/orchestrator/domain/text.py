"""What counts as a word or as the same text, in scripts with and without spaces."""

import re
import unicodedata

# Thai to Khmer, Japanese, Chinese, Korean: scripts that say a word in one to three characters.
DENSE_SCRIPT = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]"
)


def normalise(text: str) -> str:
    """Compared form: compatibility-folded, lower case, letters and digits with single spaces."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = "".join(char if unicodedata.category(char)[0] in "LNM" else " " for char in folded)
    return " ".join(kept.split())


def word_count(text: str) -> float:
    """Words; a character of a dense script counts as half of one."""
    dense = len(DENSE_SCRIPT.findall(text))
    return dense / 2 + len(normalise(DENSE_SCRIPT.sub(" ", text)).split())
