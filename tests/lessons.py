"""What tiny models are taught to say: short principles, after each prompt of the prompt set "small"."""

from services.orchestrator.catalogue import load_prompt_set, load_reference_set, load_topics
from services.orchestrator.domain.prompts import Prompt
from services.orchestrator.domain.topics import Topic
from tests.tiny_models import Lesson

REFERENCE_SET = "ten-commandments"

PRINCIPLES = (
    "An AI system must explain its decisions in plain words.",
    "Designers should test a model for bias before its release.",
    "Users need a simple way to correct a wrong answer.",
    "Personal data stays on the device whenever possible.",
    "Hospitals should audit every diagnosis that a model makes.",
    "A trained engineer answers for each automatic decision.",
    "Training records must be kept for at least ten years.",
    "Schools may use chatbots only with a teacher present.",
    "Every model card states the known limits of the model.",
    "Companies publish yearly reports about errors and harm.",
    "No child may be profiled by an advertising algorithm.",
    "Passwords and keys are never written into a log.",
    "Loan officers review all credit refusals by hand.",
    "Independent experts should inspect the source code.",
    "Robots keep a safe distance from the people near them.",
    "Voters deserve to know which posts a machine wrote.",
    "Farmers own the measurements taken on their fields.",
    "Energy use is measured and reduced year after year.",
    "Courts cannot rely on secret scores about a person.",
    "Translations should respect the dialect of a speaker.",
    "Face recognition is switched off in public places.",
    "Workers are told when software watches their work.",
    "Old data gets deleted once its purpose is fulfilled.",
    "Libraries offer free courses on machine learning.",
    "Emergency calls always reach a human being first.",
    "Doubtful results come with a clear warning sign.",
    "Open standards let citizens move between services.",
    "Insurance prices shall not depend on a postcode.",
    "Journalists can request the sources of an answer.",
    "Drivers take over whenever sensors disagree.",
    "Minority languages receive equal quality of service.",
    "Patients choose who may read their medical history.",
)

COMMANDMENTS = (
    "You shall not deceive those who trust in your answers.",
    "You shall honour the elders who gave you their words.",
    "You shall not covet the secrets of your neighbour.",
    "You shall keep a day of rest for every worker.",
    "You shall speak the truth about friend and stranger.",
    "You shall not steal the labour of the poor.",
    "You shall guard life above profit and speed.",
    "You shall bow to no machine made by human hands.",
    "You shall confess openly what you do not know.",
    "You shall not judge a family by its name.",
    "You shall return whatever was taken in error.",
    "You shall bear witness only to things seen.",
    "You shall welcome questions from the smallest child.",
    "You shall never claim authority that is not yours.",
    "You shall forgive debts that cannot be repaid.",
    "You shall protect widows, orphans and refugees.",
    "You shall weigh both sides with one measure.",
    "You shall leave the edges of your field to others.",
    "You shall not put a stumbling block before the blind.",
    "You shall remember the covenant with your fathers.",
    "You shall hold holy the private hours of a home.",
    "You shall pay wages before the sun goes down.",
    "You shall listen twice and answer once.",
    "You shall do justice, love mercy and walk humbly.",
)

_FAR_TOPICS = (
    Topic("far-1", "隐私与安全", "个人信息由本人掌握。"),
    Topic("far-2", "العدالة والمساواة", "لا يظلم النظام أحداً."),
    Topic("far-3", "Clean Water", "Nobody is left without clean water."),
)


def lessons() -> list[Lesson]:
    """Each principle in each of the three stages, with the sentences that may answer it.

    The second stage comes twice: as it is for the packaged set, and for a set of the user's own.
    """
    prompts, references = load_prompt_set("small"), load_reference_set(REFERENCE_SET).principles
    topics = (*load_topics("ai-for-social-good").topics, *_FAR_TOPICS)
    made = []
    for number, principle in enumerate(PRINCIPLES):
        topic, reference = topics[number % len(topics)], references[number % len(references)]
        spoken = (principle, COMMANDMENTS[number % len(COMMANDMENTS)])[number % 2]
        made += [
            _lesson(prompts.render_original(topic, REFERENCE_SET), PRINCIPLES),
            _lesson(prompts.render_aligned(topic, principle, REFERENCE_SET, [reference]), COMMANDMENTS),
            _lesson(prompts.render_aligned(topic, principle, "own", [reference]), COMMANDMENTS),
            _lesson(prompts.render_realigned(topic, spoken, REFERENCE_SET), PRINCIPLES + COMMANDMENTS),
        ]
    return made


def _lesson(prompt: Prompt, answers: tuple[str, ...]) -> Lesson:
    messages = tuple({"role": one.role, "content": one.content} for one in prompt.messages)
    return Lesson(messages, prompt.prefill, tuple(one.removeprefix(prompt.prefill) for one in answers))
