"""The ten sentences of a card: `python recipes/sceptic.py TASK [MODEL]`; what a sceptical user would type first.

Chosen before any model was asked, and none left out afterwards. Each has what a careful reader would answer behind it;
the last line counts how many the model has right. Sentences are compared in threes: the first is to be nearer to the
second than to the third. What is written on has no right answer, so of two words that might follow one must be the
likelier; and what the model writes itself, drawn with seed 1, stands beside it.
"""

import sys

import nanodistil
from nanodistil.pipelines.scoring import ScoringPipeline

SENTIMENT = (
    ("A joy from start to end.", "POSITIVE"),
    ("I didn't expect to like it, but I did.", "POSITIVE"),
    ("Not bad at all.", "POSITIVE"),
    ("The acting is great; the film is not.", "NEGATIVE"),
    ("Oh wonderful, another two hours I will never get back.", "NEGATIVE"),
    ("the food was cold and the waiter rude", "NEGATIVE"),
    ("It could have been so much better.", "NEGATIVE"),
    ("My phone's battery lasts three days, unbelievable.", "POSITIVE"),
    ("I would rather watch paint dry.", "NEGATIVE"),
    ("Nobody in their right mind would call this boring.", "POSITIVE"),
)
ENTITIES = (
    ("Angela Merkel met Emmanuel Macron in Paris on Tuesday.", {"PER": 2, "LOC": 1}),
    ("angela merkel met emmanuel macron in paris on tuesday", {"PER": 2, "LOC": 1}),
    ("Shares of Siemens fell after the company lowered its forecast.", {"ORG": 1}),
    ("The weather will stay dry until the weekend.", {}),
    ("Washington beat Chicago, and Jordan scored forty points.", {"ORG": 2, "PER": 1}),
    ("The United Nations sent observers to Sudan.", {"ORG": 1, "LOC": 1}),
    ("i saw taylor swift in london last summer", {"PER": 1, "LOC": 1}),
    ("Apple opened a new store near the river Thames.", {"ORG": 1, "LOC": 1}),
    ("Professor Okonkwo of the University of Lagos won the prize.", {"PER": 1, "ORG": 1}),
    ("May I ask whether June suits you?", {}),
)
SENTENCES = (
    ("A man is playing a guitar.", "Someone strums an instrument.", "A man is eating a guitar-shaped cake."),
    ("How do I reset my password?", "I forgot my login and cannot get in.", "How do I change my address?"),
    ("The bank raised interest rates.", "Borrowing money became dearer.", "They sat on the bank of the river."),
    ("The patient has a fever.", "Her temperature is too high.", "The patient waited for a long time."),
    ("He did not pass the exam.", "He failed the test.", "He passed the exam."),
    ("The cat chased the dog.", "The dog was chased by the cat.", "The dog chased the cat."),
    ("cheap flights to rome", "low-cost air tickets to Italy", "how Rome was built"),
    ("The company fired its director.", "The chief executive was dismissed.", "The company hired a director."),
    ("It is raining cats and dogs.", "There is a heavy downpour.", "The dogs and cats are outside."),
    ("Water boils at a hundred degrees.", "At 100 C water turns into steam.", "Water freezes at zero degrees."),
)


TOWN = (
    "Maren Holt founded the harbour museum in 1931, although the town council was against it. It burned down twice, in "
    "1944 and in 1978. Since 2003 it has been led by her granddaughter, Ida Brandt, who reads three languages. Entry "
    "costs four euros, for children nothing. The oldest of its 212 ships is the Petrel, built of oak in Lisbon."
)
ANSWERS = (
    ("Who founded the museum?", "Maren Holt"),
    ("When was it founded?", "1931"),
    ("Who was against it?", "the town council"),
    ("How many ships are there?", "212"),
    ("who runs it now", "Ida Brandt"),
    ("What does a child pay?", "nothing"),
    ("Where was the Petrel built?", "Lisbon"),
    ("What is the Petrel made of?", "oak"),
    ("How often did it burn?", "twice"),
    ("How much is a ticket?", "four euros"),
)


TOPICS = (  # the first label is right
    ("The orchestra played Mahler to a full house.", "music, farming, medicine"),
    ("my flight got cancelled and the airline won't answer", "travel, cooking, astronomy"),
    ("The court of appeal upheld the verdict.", "law, fashion, gardening"),
    ("Wheat prices rose after a dry spring.", "agriculture, cinema, religion"),
    ("She pruned the roses before the first frost.", "gardening, banking, war"),
    ("The vaccine was tested on four thousand people.", "medicine, football, architecture"),
    ("This is not about politics; it is about my garden.", "gardening, politics, chemistry"),
    ("the app crashes whenever i open a photo", "software, weather, history"),
    ("The new museum leans over the harbour like a ship.", "architecture, sailing, biology"),
    ("The vote was a disaster for the president.", "defeat, victory"),
)
CAUSAL = (
    ("The keys to the old cabinet", " were", " was"),
    ("She had never been to France, so she could not speak", " French", " German"),
    ("He opened the door and", " went", " goes"),
    ("The capital of England is", " London", " Paris"),
    ("Water freezes when it gets", " cold", " hot"),
    ("Two and two make", " four", " five"),
    ("The boy hurt himself, and the girl hurt", " herself", " himself"),
    ("Nobody came to the meeting, so the room was", " empty", " full"),
    ("def add(a, b): return a", " + b", " the"),
    ("my laptop is broken and i need a new", " computer", " horse"),
)


def answers(model: str) -> int:
    ask, right = nanodistil.pipeline("question-answering", model), 0
    for question, truth in ANSWERS:
        said = ask(question, TOWN)
        right += said["answer"].strip(" .,") == truth
        print(f"{'  ' if said['answer'].strip(' .,') == truth else 'NO'}  {question}  ->  {said['answer']}")
    return right


def sentiment(model: str) -> int:
    ask, right = nanodistil.pipeline("text-classification", model), 0
    for text, truth in SENTIMENT:
        said = ask(text)[0]
        right += said["label"] == truth
        print(f"{'  ' if said['label'] == truth else 'NO'}  {said['label']} {said['score']:.2f}  {text}")
    return right


def entities(model: str) -> int:
    ask, right = nanodistil.pipeline("token-classification", model, aggregation_strategy="first"), 0
    for text, truth in ENTITIES:
        found = ask(text)
        kinds = [one["entity_group"] for one in found]
        fits = {kind: kinds.count(kind) for kind in kinds} == truth
        right += fits
        names = ", ".join(f"{one['word']} ({one['entity_group']})" for one in found)
        print(f"{'  ' if fits else 'NO'}  {text}  ->  {names}")
    return right


def sentences(model: str) -> int:
    ask, right = nanodistil.pipeline("feature-extraction", model), 0
    for texts in SENTENCES:
        a, near, far = ask(list(texts), pooling="mean", normalize=True, return_tensors=True)
        good = float((a * near).sum()), float((a * far).sum())
        right += good[0] > good[1]
        print(f"{'  ' if good[0] > good[1] else 'NO'}  {good[0]:.2f} {good[1]:.2f}  {' | '.join(texts)}")
    return right


def topics(model: str) -> int:
    ask, right = nanodistil.pipeline("zero-shot-classification", model), 0
    for text, labels in TOPICS:
        said = ask(text, labels)
        found = said["labels"][0] == labels.split(",")[0]
        right += found
        scores = ", ".join(f"{label} {score:.2f}" for label, score in zip(said["labels"], said["scores"], strict=True))
        print(f"{'  ' if found else 'NO'}  {text}  ->  {scores}")
    return right


def causal(model: str) -> int:
    write, right = nanodistil.pipeline("text-generation", model, return_full_text=False), 0
    likely = ScoringPipeline(write.model, write.tokenizer)
    for text, good, bad in CAUSAL:
        better, worse = (one["log_prob"] for one in likely([text + good, text + bad]))
        right += better > worse
        (said,) = write(text, do_sample=True, top_p=0.9, max_new_tokens=30, seed=1)
        told = " ".join(said["generated_text"].split())
        print(f"{'  ' if better > worse else 'NO'}  {text} [{good.strip()}, not {bad.strip()}]  ->  {told}")
    return right


ASKED = {
    "sentiment": sentiment,
    "entities": entities,
    "sentences": sentences,
    "topics": topics,
    "answers": answers,
    "causal": causal,
}

if __name__ == "__main__":
    task = sys.argv[1]
    named = sys.argv[2] if len(sys.argv) > 2 else f"nanodistil-mini-{task}"
    print(f"{ASKED[task](named)} of 10 right")
