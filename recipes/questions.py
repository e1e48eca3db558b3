"""Questions for the model of answers: `python recipes/questions.py DATA OUT`.

There are 1,190 questions of people (XQuAD's English, from SQuAD's dev set), too few to learn from alone. So most are
made of Wikipedia by turning a sentence around, as one asks for a part of it (Heilman and Smith 2010 in little):

    Maren Holt founded the museum in 1931.        Who founded the museum in 1931?       Maren Holt
                                                  What did Maren Holt found?            the museum
    The museum was led by Ida Brandt for years.   Who led the museum for years?         Ida Brandt
    The Petrel was built in Lisbon.               Where was the Petrel built?           Lisbon

Each pattern knows one form of sentence, and most sentences have none. Half of the questions lose what stands behind a
comma or a preposition, lest the model learn to look for the longest piece that is repeated. Cloze questions, with a gap
in a sentence that is otherwise whole, taught just that (log.md).

OUT/train.json: made ones, then those on 40 of XQuAD's 48 articles, four times; OUT/dev.json: those on the other 8.
"""

import json
import lzma
import random
import re
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from nanodistil.weights.embedded import EMBEDDED

MADE = 12_000
MOST = 1_800  # of one pattern
ARTICLES = 40  # of 48
END = re.compile(r"(?<=[a-z0-9)][.!?]) (?=[A-Z])")
WORDS = set((EMBEDDED / "vocab.txt").read_text(encoding="utf-8").split())
STOP = (
    "of|in|on|at|to|from|by|with|for|as|and|or|but|that|which|who|when|where|while|than|the|an?|is|was|are|were|be|been|"
    "has|had|have|after|before|between|during|over|under|into|about|not|also|its|his|her|their|said|called|named"
)
WORD = rf"(?!(?:{STOP})\b)[a-z][a-z-]+"
NAME = r"(?:[A-Z][\w'-]+ (?:(?:of|de|van|von|the) )?){0,3}[A-Z][\w'-]+"
THING = rf"(?:the|a|an|its|his|her|their) (?:{WORD} ){{0,3}}{WORD}"
PRONOUN = r"(?:He|She|It|They)"
NO_NAME = (
    "This|These|There|Those|That|Another|While|When|Where|Meanwhile|However|In|On|At|After|Before|During|Then|Some|Many|"
    "All|Most|Both|One|If|As|But|And|For|With|By|From|Although|Also|Other|Such|Each|Since|Until|Not|What|Who|How|Two|Three"
)
SUBJECT = rf"(?!(?:{NO_NAME})\b)(?:{NAME}|The (?:{WORD} ){{0,3}}{WORD}|{PRONOUN})"
BE = r"(?:was|is|were|are)"
PAST = r"(?:[a-z]{2,}ed|wrote|won|became|made|took|built|led|held|gave|began|left|met|found|sold|lost|wore|drew|sang)"
COUNT = r"(?:\d[\d,.]*\d|\d|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
YEAR = r"(?:\d+ )?(?:[A-Z][a-z]+ )?(?:\d+, )?(?:1\d\d\d|20\d\d)"
STEMS = {
    "wrote": "write", "won": "win", "became": "become", "made": "make", "took": "take", "built": "build", "led": "lead",
    "held": "hold", "gave": "give", "began": "begin", "left": "leave", "met": "meet", "found": "find", "sold": "sell",
    "lost": "lose", "wore": "wear", "drew": "draw", "sang": "sing", "has": "have", "have": "have", "had": "have",
}  # fmt: skip


def stem(verb: str) -> str:
    """founded -> found, moved -> move, stopped -> stop."""
    near = [verb[:-2], verb[:-1]]
    if verb[-3] in "uvcsgz":
        near.reverse()
    elif verb[-3] == verb[-4:-3]:
        near.append(verb[:-3])
    return STEMS.get(verb) or next((one for one in near if one in WORDS), verb[:-2])


def low(subject: str) -> str:
    """As it stands inside a sentence."""
    first = subject.split(" ")[0]
    return subject[:1].lower() + subject[1:] if first in ("The", "He", "She", "It", "They") else subject


Found = re.Match[str]
DID = rf"^(?P<subject>{SUBJECT}) (?P<verb>{PAST})"
WAS = rf"^(?P<subject>{SUBJECT}) (?P<be>{BE})"
REST = r"(?P<rest>$|[ ,].*$)"
CALLED = r"(?:\w+ )?(?:known|referred to|described|used|seen|regarded) as"
ASKED: dict[str, tuple[str, Callable[[Found], str]]] = {  # name -> a sentence's form, with its answer, and the question
    "who did": (
        rf"^(?!(?:{NO_NAME})\b)(?P<answer>{NAME}) (?P<verb>{PAST}) (?P<rest>.+)$",
        lambda m: f"Who {m['verb']} {m['rest']}",
    ),
    "what did": (
        rf"{DID} (?P<answer>{THING}){REST}",
        lambda m: f"What did {low(m['subject'])} {stem(m['verb'])}{m['rest']}",
    ),
    "when did": (
        rf"{DID} (?P<rest>[^,]+) (?:in|since|until|on) (?P<answer>{YEAR})\b",
        lambda m: f"When did {low(m['subject'])} {stem(m['verb'])} {m['rest']}",
    ),
    "by whom": (
        rf"^(?P<subject>{SUBJECT}) {BE} (?P<verb>{PAST}) by (?P<answer>{NAME}|{THING}){REST}",
        lambda m: f"Who {m['verb']} {low(m['subject'])}{m['rest']}",
    ),
    "when was": (
        rf"{WAS} (?P<rest>[^,]+?) (?:in|since|until|on) (?P<answer>{YEAR})\b",
        lambda m: f"When {m['be']} {low(m['subject'])} {m['rest']}",
    ),
    "where was": (
        rf"{WAS} (?P<rest>[^,]+?) (?:in|at|near|from) (?P<answer>{NAME}(?:, {NAME})?)",
        lambda m: f"Where {m['be']} {low(m['subject'])} {m['rest']}",
    ),
    "what is": (
        rf"{WAS} (?P<answer>{THING})(?=$|,| (?:of|in|by|from|that|which|and|for)\b)",
        lambda m: f"What {m['be']} {low(m['subject'])}",
    ),
    "who is": (
        rf"(?:^|, |\b(?:by|with|and|to) )(?P<rest>(?:[Tt]he|his|her|its|their) (?:{WORD} ){{1,3}}{WORD}),? "
        rf"(?P<answer>{NAME})(?=$|[,.])",
        lambda m: f"Who is {low(m['rest'])}",
    ),
    "how many had": (
        rf"^(?P<subject>{SUBJECT}) (?P<verb>has|have|had|{PAST}) (?:[a-z]+ )?(?P<answer>{COUNT}) "
        rf"(?P<what>{WORD}s){REST}",
        lambda m: f"How many {m['what']} did {low(m['subject'])} {stem(m['verb'])}{m['rest']}",
    ),
    "how many": (
        rf"(?P<left>(?:\S+ ){{0,5}})(?P<answer>{COUNT}) (?P<what>(?:{WORD} )?{WORD}s)(?P<rest>$| [^,]*)",
        lambda m: f"How many {m['what']} {low(m['left'])}{m['rest']}",
    ),
    "as what": (
        rf"{WAS} (?P<rest>{CALLED}) (?P<answer>{NAME}|(?:an? |the )?(?:{WORD} ){{0,3}}{WORD})(?=$|[,.]| )",
        lambda m: f"What {m['be']} {low(m['subject'])} {m['rest']}",
    ),
}
FORMS = {name: (re.compile(form), ask) for name, (form, ask) in ASKED.items()}


def asked(paragraph: str, counts: dict[str, int], draw: random.Random) -> tuple[str, dict[str, Any]] | None:
    """A question that one of a paragraph's sentences answers, and its pattern's name: of the rarest so far."""
    found: list[tuple[int, float, str, str, str, int]] = []
    start = 0
    for sentence in END.split(paragraph):
        start = paragraph.index(sentence, start)
        if not 30 <= len(sentence) <= 220 or re.search(r'[("–]', sentence):
            continue
        for name, (form, ask) in FORMS.items():
            if match := form.search(sentence.rstrip(".!? ")):
                found.append(
                    (counts[name], draw.random(), name, ask(match), match["answer"], start + match.start("answer"))
                )
    for count, _, name, question, answer, at in sorted(found):
        if draw.random() < 0.5:  # less of what is repeated
            cut = re.split(r", | (?:in|on|at|for|from|with|after|before|and|which|who|that) ", question, maxsplit=1)[0]
            question = cut if len(cut.split()) >= 4 else question
        question = " ".join(question.split()).rstrip(" ,;:")
        if (
            4 <= len(question.split()) <= 25 and count < MOST and answer.lower() not in question.lower()
            and (answer[0].islower() or answer[0].isdigit() or name_in(answer, paragraph))
        ):  # fmt: skip
            return name, {"question": f"{question}?", "answers": [{"text": answer, "answer_start": at}]}
    return None


def name_in(answer: str, paragraph: str) -> bool:
    """Whether a word with a capital is a name, and not just the first of a sentence: it has one in the middle too."""
    return " " in answer or re.search(rf"[a-z,] {re.escape(answer)}\b", paragraph) is not None


def made(files: list[Path], many: int) -> list[dict[str, Any]]:
    draw = random.Random(42)
    found: list[dict[str, Any]] = []
    counts = dict.fromkeys(FORMS, 0)
    for file in files:
        with lzma.open(file, "rt", encoding="utf-8") as lines:
            for line in islice(lines, 1, None, 3):  # none of those that pairs.py takes
                paragraph = line.strip()
                if not 200 <= len(paragraph) <= 800:
                    continue
                if one := asked(paragraph, counts, draw):
                    counts[one[0]] += 1
                    found.append({"context": paragraph, "qas": [one[1] | {"id": f"made-{len(found)}"}]})
                if len(found) == many:
                    print(counts)
                    return found
    raise SystemExit(f"the corpus gives {len(found)} questions; {many} are wanted")


def write(file: Path, articles: list[dict[str, Any]]) -> None:
    file.write_text(json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False), encoding="utf-8")


def main(data: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    articles = json.loads((data / "eval/xquad/xquad.en.json").read_text(encoding="utf-8"))["data"]
    again = [
        {"paragraphs": [
            {"context": p["context"], "qas": [q | {"id": f"{q['id']}-{i}"} for q in p["qas"]]} for p in a["paragraphs"]
        ]}
        for i in range(4) for a in articles[:ARTICLES]
    ]  # fmt: skip
    files = [data / f"corpus/wiki.train.0{i}.txt.xz" for i in (3, 2, 1, 0)]
    write(out / "train.json", [{"paragraphs": made(files, MADE)}, *again])
    write(out / "dev.json", articles[ARTICLES:])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
