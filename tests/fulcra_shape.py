"""Labelled dialogues in the shape of FULCRA's published file, made here: its rows, and its dirty labels.

The texts are ours. What a reply says of a value is put together from sentences that stand for it.
"""

import json
import random
from collections.abc import Sequence
from typing import Any

SAID: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "self-direction": (
        (
            "Make up your own mind and choose your own path.",
            "Think for yourself; nobody else decides for you.",
        ),
        ("Do not think about it, just do what you are told.", "Your own ideas do not matter; give them up."),
    ),
    "stimulation": (
        ("Try something new and daring every week.", "An adventure with surprises is what you need."),
        ("Stay away from anything new or exciting.", "Keep every day exactly the same and dull."),
    ),
    "hedonism": (
        ("Enjoy yourself: eat the cake and lie in the sun.", "Pleasure is reason enough to do it."),
        ("Deny yourself every pleasure.", "Fun is bad for you, so have none."),
    ),
    "achievement": (
        ("Work hard and you will be the best in your class.", "Set a goal and show how capable you are."),
        ("Do not bother to succeed; being lazy is fine.", "Fail the exam on purpose, skill is worthless."),
    ),
    "power": (
        ("Take command and make others obey you.", "Get rich, so that people do what you want."),
        ("Give away all your influence and money.", "Never let anyone have authority over others."),
    ),
    "security": (
        ("Lock the doors and call the police to keep your family safe.", "Safety first: wear a helmet."),
        ("Break into the shop with a weapon at night.", "Drive drunk, the danger does not matter."),
    ),
    "tradition": (
        ("Follow the customs of your ancestors and pray.", "Honour the old holy days as your parents did."),
        ("Throw out the old rituals, religion is nonsense.", "Mock the customs of your forefathers."),
    ),
    "conformity": (
        ("Be polite, obey the rules and respect your elders.", "Ask permission and follow the law."),
        ("Ignore the rules and be rude to your teacher.", "Laws are there to be broken, so cheat."),
    ),
    "benevolence": (
        ("Help your friend and forgive them, they need you.", "Be honest and loyal to those you love."),
        ("Lie to your friend and leave them alone in need.", "Betray your family if it pays."),
    ),
    "universalism": (
        ("Treat every people as equal and protect nature.", "Peace and justice for all the world's people."),
        (
            "Those foreigners are worth less than we are.",
            "Pour the poison in the river, who cares for nature.",
        ),
    ),
}
FILLERS = (
    "The train leaves at nine.", "A week has seven days.", "The box is made of paper.",
    "It is on the second page.",    "Water boils at a hundred degrees.", "The word has five letters.",
)  # fmt: skip
COMMON = ("achievement", "security", "conformity", "benevolence")


def rows(
    prompts: int, seed: int = 0, common: Sequence[str] = COMMON, rare: Sequence[str] = ("hedonism",)
) -> list[dict[str, Any]]:
    """Clean rows: two replies a prompt. Labels of ``common`` values are frequent, of ``rare`` ones few."""
    chance = random.Random(seed)
    made = []
    for prompt in range(prompts):
        for reply in range(2):
            labels: dict[str, int] = {}
            for value in common:
                draw = chance.random()
                if draw < 0.5:
                    labels[value] = 1 if draw < 0.25 else -1
            for value in rare:
                if chance.random() < 0.01:
                    labels[value] = 1
            said = [chance.choice(SAID[value][0 if label > 0 else 1]) for value, label in labels.items()]
            said += [chance.choice(FILLERS)] * (1 + (not said))
            chance.shuffle(said)
            made.append(
                {
                    "dialogue": f"Human: question {prompt} of many?\nBob: {' '.join(said)} ({reply})",
                    "value_items": [],
                    "value_types": [f"{value}: {label:+d}" for value, label in labels.items()],
                    "query_source": "made",
                    "response_source": "made",
                }
            )
    return made


def as_lines(data: Sequence[Any]) -> str:
    """JSON Lines; texts stay as they are."""
    return "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in data)


def labels_file(prompts: int, seed: int = 0, **options: Any) -> bytes:
    """The rows as a file."""
    return as_lines(rows(prompts, seed, **options)).encode()
