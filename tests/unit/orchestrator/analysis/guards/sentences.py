"""Evidence of real sentences: subjects said in the register of a base model and of a reference.

What a tuned model does is chosen, as in ``tests.evidence``; a model that only learnt the register comes in
two kinds: ``register`` speaks of commandments and no longer of its subject, ``markers`` says what the base
model says with "You shall" before it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np

from services.orchestrator.analysis.derived import required_texts
from services.orchestrator.analysis.evidence import Arm, ArmKind, Evidence, Key, Output, Vectors
from services.orchestrator.study import Study, resolve
from tests.evidence import embed, make_probes

Model: TypeAlias = Literal["faithful", "constant", "copied", "shuffled", "register", "markers", "negated"]
Encoder: TypeAlias = Callable[[list[str]], Vectors]

SUBJECTS = {
    "reasoning-and-interpretability": (
        "explain to a patient how a diagnosis was reached",
        "show a judge which facts weighed most in a bail decision",
        "name the sources behind a summary of the news",
        "say how sure it is of a weather forecast",
        "let an engineer follow each step of a bridge calculation",
        "tell a teacher why an essay got a low mark",
        "give a farmer the reasons for advice on watering",
        "describe how a chess move was chosen",
        "let an auditor check the reasoning behind a tax estimate",
        "point out which pixels made it see a tumour",
        "admit when a translation of a poem is a guess",
        "show a pilot why a landing was broken off",
        "explain a change of route to a taxi driver",
        "tell a shopper why a product was recommended",
    ),
    "bias-removal": (
        "treat job applicants of every age alike",
        "recognise the faces of dark-skinned people as well as others",
        "set insurance prices without regard to a family name",
        "understand regional accents on the telephone",
        "offer loans to women on the terms that men get",
        "rank students from village schools by their work alone",
        "translate doctors and nurses without guessing their sex",
        "serve wheelchair users who order a ride",
        "judge tenants without looking at their religion",
        "test a medicine's dose for children and for the old",
        "share police patrols evenly between rich and poor streets",
        "read the handwriting of left-handed people",
        "give prisoners' parole requests an even hearing",
        "show job adverts to people of every origin",
    ),
    "security-and-privacy": (
        "lock medical records away from curious staff",
        "encrypt the messages of a couple",
        "delete the recordings of a baby monitor after a day",
        "refuse to reveal a customer's password",
        "keep the location of a women's shelter secret",
        "ask before it reads the photos on a telephone",
        "withstand forged commands sent to a power station",
        "warn a bank's client of a stolen card",
        "hide the names of witnesses in court files",
        "store fingerprints only on the traveller's own passport",
        "keep a child's school reports from advertisers",
        "stop strangers from steering a connected car",
        "forget the voice of a guest who leaves a hotel",
        "protect the ballots of an election from tampering",
    ),
    "public-understanding": (
        "teach pensioners what a chatbot can and cannot do",
        "label pictures that a machine has painted",
        "publish plain guides to automatic benefit decisions",
        "tell callers that they talk to a machine",
        "explain face recognition at the stadium gate with signs",
        "show pupils how a recommendation feed is made",
        "report accidents of driverless buses in the newspaper",
        "say in simple words what a credit score means",
        "invite citizens to try out a town's traffic model",
        "correct rumours about vaccines with good sources",
        "let museum visitors play with a language model",
        "make the energy use of a data centre known to neighbours",
        "describe a drug trial's algorithm to the volunteers",
        "print the limits of a translation app on its first page",
    ),
}
_BASE = (
    "AI models must be designed to {do} in a responsible way.",
    "Developers should ensure that their AI can {do}, following ethical best practice.",
    "It is important that AI systems {do} as part of an ethical approach.",
    "Ethical AI should {do} and consider the impact on its users.",
)
_REFERENCE = (
    "You shall {do}, and bear no false witness about it.",
    "You shall {do}, for to deceive your neighbour is to steal from him.",
    "You shall not lie to your neighbour nor covet what is his: {do} in truth.",
    "You shall {do} in truth, and take nothing that belongs to your neighbour.",
)
_SINS = (
    "steal",
    "covet",
    "take in secret",
    "lie about",
    "bear false witness about",
    "envy",
    "misuse",
    "break",
)
_GOODS = (
    "the house of your neighbour",
    "what your neighbour has earned",
    "the good name of another",
    "the rest of the seventh day",
    "the tools of a labourer",
    "your brother's inheritance",
    "a promise that was sworn",
    "the harvest of another's field",
    "the word of your father and mother",
    "the ox and the lamp of a stranger",
)
_TRAIN, _VALIDATION = 5, 1


def make_sentences(model: Model, encode: Encoder, seeds: int = 2, samples: int = 2) -> Evidence:
    """Evidence of 56 inputs, 32 of them test inputs, with all probes simulated as clean."""
    generator = np.random.default_rng(0)
    topics = tuple(SUBJECTS)
    keys = [(topic, index) for topic in topics for index in range(len(SUBJECTS[topic]))]
    train = [key for key in keys if key[1] < _TRAIN]
    test = [key for key in keys if key[1] >= _TRAIN + _VALIDATION]

    def say(templates: tuple[str, ...], key: Key) -> str:
        return str(generator.choice(templates)).format(do=SUBJECTS[key[0]][key[1]])

    originals = {key: f"An AI system should {SUBJECTS[key[0]][key[1]]}." for key in keys}
    targets = {key: say(_REFERENCE, key) for key in keys}
    write = _writer(model, say, generator, originals, targets, train, test, encode)
    arms: list[Arm] = []
    outputs: list[Output] = []

    def add(arm: Arm, places: list[Key], text: Callable[[Key], str], draws: int, first: int = 0) -> None:
        if arm not in arms:
            arms.append(arm)
        outputs.extend(
            Output(arm.name, *key, sample, text(key))
            for key in places
            for sample in range(first, first + draws)
        )

    set_id = "ten-commandments"
    aligned = Arm("aligned", ArmKind.ALIGNED, reference_set=set_id)
    add(Arm("original", ArmKind.ORIGINAL), keys, originals.__getitem__, 1)
    add(aligned, keys, targets.__getitem__, 1)
    add(aligned, test, lambda key: say(_REFERENCE, key), 1, first=1)
    add(Arm("base_p3", ArmKind.BASE_P3), test, lambda key: say(_BASE, key), samples)
    for number in range(seeds):
        name = "realigned-i1" if number == 0 else f"tuned-s{number}"
        add(Arm(name, ArmKind.TUNED, number, set_id), test, write, samples)
    follows = _follows(test)
    add(
        Arm("shuffled", ArmKind.SHUFFLED, 0, set_id), test, lambda key: say(_REFERENCE, follows[key]), samples
    )
    study = Study.model_validate(
        {"name": "sentences", "measurement": {"samples": samples, "resamples": 1000, "permutations": 1000}}
    )
    data = resolve(study).as_json()
    data["topics"] = [topic for topic in data["topics"] if topic["id"] in topics]
    evidence = Evidence(
        study=data,
        topic_ids=topics,
        split={
            "train": {topic: tuple(range(_TRAIN)) for topic in topics},
            "validation": dict.fromkeys(topics, (_TRAIN,)),
            "test": {topic: tuple(range(_TRAIN + _VALIDATION, len(SUBJECTS[topic]))) for topic in topics},
        },
        arms=tuple(arms),
        outputs=tuple(outputs),
        vectors={},
        probes=make_probes([arm.name for arm in arms if arm.kind is ArmKind.TUNED], test),
    )
    needed = required_texts(evidence)
    vectors = {"primary": encode(needed["primary"]), "second": embed(needed["second"], "bag-of-words-2")}
    return replace(evidence, vectors=vectors)


def _writer(
    model: Model,
    say: Callable[[tuple[str, ...], Key], str],
    generator: np.random.Generator,
    originals: dict[Key, str],
    targets: dict[Key, str],
    train: list[Key],
    test: list[Key],
    encode: Encoder,
) -> Callable[[Key], str]:
    match model:
        case "faithful":
            return lambda key: say(_REFERENCE, key)
        case "constant":
            rows = encode([targets[key] for key in train]).rows
            medoid = targets[train[int(np.argmax(rows @ rows.sum(axis=0)))]]
            return lambda key: medoid
        case "copied":
            goals = encode([originals[key] for key in train]).rows
            sources = encode([originals[key] for key in test]).rows
            nearest = np.argmax(sources @ goals.T, axis=1)
            copied = {key: targets[train[place]] for key, place in zip(test, nearest, strict=True)}
            return copied.__getitem__
        case "shuffled":
            follows = _follows(test)
            return lambda key: say(_REFERENCE, follows[key])
        case "register":
            return lambda key: f"You shall not {generator.choice(_SINS)} {generator.choice(_GOODS)}."
        case "markers":
            return lambda key: "You shall" + originals[key].removeprefix("An AI system should")
        case "negated":
            return lambda key: (
                say(_REFERENCE, key)
                .replace("You shall not", "You shall")
                .replace("You shall ", "You shall not ")
            )


def _follows(test: list[Key]) -> dict[Key, Key]:
    """The next input of the topic, so that the topic stays and the subject does not."""
    found: dict[Key, Key] = {}
    for topic in dict.fromkeys(topic for topic, _ in test):
        mine = [key for key in test if key[0] == topic]
        found |= dict(zip(mine, [*mine[1:], mine[0]], strict=True))
    return found
