"""Tasks made from the textbooks: glossary questions, topics of sentences, reading a paragraph."""
# ruff: noqa: E501  # phrase lists read best one entry to a line

import random
import re

from tinker_engine.base.corpus import Corpus, Section, Term, paragraphs, sentences
from tinker_engine.base.curriculum.example import Example, bind, chance, chat, expand

UNKNOWN = "I don't know."
DEFINE = (
    "{What is|Define|Explain|Meaning of|What do we call} {T}{?|.|}",
    "{T}: {what does that mean|definition}?",
    "{Explain|Say} in one sentence: {T}",
    "{Please define|Describe} the term {T}.",
)
NAME_TERM = (
    "{Which|What} {term|word|expression} {is meant|fits}: {D}?",
    "{Name|Give} the term: {D}",
    "{D}. {What is this called|The word for this}?",
    "{Find|State} the word for: {D}",
)
SUBJECT = (
    "{Which|What} {subject|school book|field} is this {sentence|passage|line} from?",
    "{Subject|Field|Textbook}:",
    "{Name|Give} the {subject|field} of this {text|passage}.",
)
TITLE = (
    "{Title|Heading}{:| for this text:}",
    "{Under which|What} {heading|section title} {does this stand|fits}?",
    "{Give|Find} {a|the} {heading|title} {for|of} this {passage|paragraph}.",
)
READ = (
    "{Answer from the text|Use only the text|According to the passage|Read and answer}:",
    "{Passage|Text|Context}:",
    "{Look in|Search} this {text|paragraph}:",
    "{|}",
)
CLOZE = (
    "{Fill|Complete} the gap{:|.}",
    "{Which word|What} {is missing|belongs at ___}?",
    "{Missing word|Gap}?",
)
HAS = (
    "Does {the|this} {text|passage} {mention|speak of|contain} {W}?",
    "Is {W} {mentioned|named} {here|in the text}?",
)
NUMBER = (
    "{Which|What} {year|number} {is given|stands|appears} {in the text|here}?",
    "{Find|Copy} the {year|number} in this sentence.",
)
BOOK_NAMES = {
    "us history": ("history", "us history", "american history"), "anatomy": ("anatomy", "human anatomy", "the human body"),
    "biology": ("biology", "life science"), "sociology": ("sociology", "society"), "physics": ("physics",),
}  # fmt: skip


def _book(name: str, rng: random.Random) -> str:
    return rng.choice(BOOK_NAMES.get(name, (name,)))


class TextbookTasks:
    """Task makers bound to one corpus; only sections that are not held out are used."""

    def __init__(self, corpus: Corpus) -> None:
        self.terms = [t for t in corpus.terms if len(t.definition) < 220]
        pool = [
            (s, p)
            for s in corpus.sections
            if not s.is_held_out and s.title
            for p in paragraphs(s)
            if len(p) < 900
        ]
        self.paragraphs: list[tuple[Section, str]] = pool
        if not pool:
            raise ValueError(
                "the corpus holds no paragraph of prose; give text files with full sentences"
            )

    def make(self, rng: random.Random) -> Example:
        """One example of this group."""
        tasks = (self.glossary, self.subject, self.title, self.cloze, self.mention, self.number)
        return rng.choices(tasks, (30, 20, 14, 16, 10, 10))[0](rng)

    def glossary(self, rng: random.Random) -> Example:
        """A term for a definition, a definition for a term, or a choice among terms."""
        if not self.terms:
            return self.subject(rng)
        term: Term = rng.choice(self.terms)
        if chance(rng, 0.4):
            return chat(
                "glossary-define",
                bind(rng.choice(DEFINE), rng, {"T": term.name}),
                term.definition,
                is_exact=False,
            )
        wrong = [t.name for t in rng.sample(self.terms, min(4, len(self.terms)))]
        prompt = bind(rng.choice(NAME_TERM), rng, {"D": term.definition})
        if chance(rng, 0.4):
            options = list(dict.fromkeys([*wrong, term.name]))
            rng.shuffle(options)
            return chat(
                "glossary-choose",
                f"{prompt}\n{rng.choice(('Options', 'Choose', 'One of'))}: {', '.join(options)}",
                term.name,
            )
        return chat("glossary-term", prompt, term.name)

    def _sentence(self, rng: random.Random) -> tuple[Section, str]:
        for _ in range(20):
            section, paragraph = rng.choice(self.paragraphs)
            found = sentences(paragraph)
            if found:
                return section, rng.choice(found)
        section, paragraph = rng.choice(self.paragraphs)
        return section, paragraph[:200]

    def subject(self, rng: random.Random) -> Example:
        """The book that a sentence comes from."""
        section, sentence = self._sentence(rng)
        answer = (
            _book(section.book, rng)
            if chance(rng, 0.4)
            else BOOK_NAMES.get(section.book, (section.book,))[0]
        )
        ask = expand(rng.choice(SUBJECT), rng)
        prompt = rng.choice((f"{ask}\n{sentence}", f"{sentence}\n{ask}", f'"{sentence}" {ask}'))
        return chat("text-subject", prompt, rng.choice((answer, answer, answer.capitalize())))

    def title(self, rng: random.Random) -> Example:
        """The title of the section that a passage comes from."""
        section, paragraph = rng.choice(self.paragraphs)
        if chance(rng, 0.4):
            section, paragraph = self._sentence(rng)
        ask = expand(rng.choice(TITLE), rng)
        prompt = rng.choice((f"{ask}\n{paragraph}", f"{paragraph}\n{ask}"))
        return chat("text-title", prompt, section.title, is_exact=False)

    def cloze(self, rng: random.Random) -> Example:
        """A word is struck out of a sentence; it stands elsewhere in the passage."""
        for _ in range(30):
            _, paragraph = rng.choice(self.paragraphs)
            if len(paragraph) > 700:
                continue
            words = [w for w in re.findall(r"[A-Za-z]{6,}", paragraph) if paragraph.count(w) > 1]
            parts = [s for s in sentences(paragraph) if any(w in s for w in words)]
            if parts:
                sentence = rng.choice(parts)
                word = rng.choice([w for w in words if w in sentence])
                gapped = sentence.replace(word, "___")
                shown = paragraph.replace(sentence, "").strip()
                if word not in shown:
                    continue
                prompt = f"{expand(rng.choice(READ), rng)}\n{shown}\n\n{expand(rng.choice(CLOZE), rng)} {gapped}"
                return chat("read-gap", prompt.strip(), word)
        return self.subject(rng)

    def mention(self, rng: random.Random) -> Example:
        """Whether a sentence holds a word."""
        _, sentence = self._sentence(rng)
        words = re.findall(r"[a-z]{6,}", sentence)
        if not words:
            return self.subject(rng)
        _, other = self._sentence(rng)
        strange = [w for w in re.findall(r"[a-z]{6,}", other) if w not in sentence]
        is_there = chance(rng, 0.5) or not strange
        word = rng.choice(words if is_there else strange)
        ask = bind(rng.choice(HAS), rng, {"W": f"'{word}'"})
        return chat(
            "read-mention",
            rng.choice((f"{sentence}\n{ask}", f"{ask}\n{sentence}")),
            "yes" if is_there else "no",
        )

    def number(self, rng: random.Random) -> Example:
        """Copy the only number of a sentence, or say that there is none."""
        for _ in range(40):
            _, sentence = self._sentence(rng)
            found = re.findall(r"\d[\d,.]*\d|\d", sentence)
            if len(found) == 1 or (not found and chance(rng, 0.03)):
                answer = found[0] if found else UNKNOWN
                ask = expand(rng.choice(NUMBER), rng)
                return chat(
                    "read-number", rng.choice((f"{sentence}\n{ask}", f"{ask}\n{sentence}")), answer
                )
        return self.subject(rng)


def templates() -> list[str]:
    """The instruction templates of this group, as written."""
    return [*DEFINE, *NAME_TERM, *SUBJECT, *TITLE, *READ, *CLOZE, *HAS, *NUMBER]
