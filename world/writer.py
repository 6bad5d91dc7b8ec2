"""A caption while it is written: its words, the solids that each word describes, and the claims so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from world.claims import Claim, Claims, far_apart, relations
from world.scene import Scene
from world.vocabulary import ADJECTIVES, NOUNS, NUMBERS, RELATIONS

LINKING = frozenset(  # words that say where a solid is
    "left right front behind next beside near close far between middle centre center foreground background back".split()
)
MARKS = (",", ".", ":", ";")  # no space before them
ORDER = ("size", "material", "colour")
FAR_BEHIND = 1.8  # metres of depth


@dataclass(frozen=True)
class Caption:
    """A caption of a scene.

    words: word by word (a comma is a word); owners: the numbers of the solids that each word describes, () for none;
    links: (number of a word, solids) for the words that say where these solids are, "left", "behind"; claims: all that
    it says; order: the number in the scene of each solid of the claims.
    """

    words: tuple[str, ...]
    owners: tuple[tuple[int, ...], ...]
    links: tuple[tuple[int, tuple[int, ...]], ...]
    claims: Claims
    order: tuple[int, ...]

    @property
    def text(self) -> str:
        text = " ".join(self.words)
        for mark in MARKS:
            text = text.replace(" " + mark, mark)
        return text


class Writer:
    """Writes a caption word by word and records its claims. Solids are numbered as in the scene."""

    def __init__(self, scene: Scene, rng: np.random.Generator):
        self.scene, self.rng = scene, rng
        self.words: list[str] = []
        self.owners: list[tuple[int, ...]] = []
        self.links: list[tuple[int, tuple[int, ...]]] = []
        self.said: dict[int, dict[str, str]] = {}  # attributes of the solids named so far, in their order
        self.entities: list[tuple[int, ...]] = []  # as they were named
        self.recent: tuple[int, ...] = ()  # what "it" would be
        self.relations: list[tuple[int, str, int]] = []
        self.places: list[tuple[int, str]] = []
        self.between: list[tuple[int, int, int]] = []
        self.counts: list[tuple[int, ...]] = []
        self.absent: list[Claim] = []
        self.ground: str | None = None
        self.sky: str | None = None
        chances = {"size": 0.6, "material": 0.45, "colour": 0.95}
        self.says = {name: rng.random() < chance for name, chance in chances.items()}
        self.article = "one" if rng.random() < 0.06 else "a"

    def caption(self) -> Caption:
        number = {solid: k for k, solid in enumerate(self.said)}
        claims = Claims(
            tuple(Claim(self.scene.solids[i].shape, **attributes) for i, attributes in self.said.items()),
            tuple(dict.fromkeys((number[a], relation, number[b]) for a, relation, b in self.relations)),
            self.ground,
            self.sky,
            tuple(dict.fromkeys((number[a], place) for a, place in self.places)),
            tuple((number[a], number[b], number[c]) for a, b, c in self.between),
            tuple(tuple(number[i] for i in group) for group in self.counts),
            tuple(dict.fromkeys(self.absent)),
        )
        return Caption(tuple(self.words), tuple(self.owners), tuple(self.links), claims, tuple(self.said))

    # ------------------------------------------------------------------------------------------------ chance

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def usual(self, options: Sequence[str], p: float = 0.4) -> str:
        """The first option with probability p, else any."""
        return options[0] if self.chance(p) else self.pick(options)

    # ------------------------------------------------------------------------------------------------ words

    def say(self, phrase: str, owners: Iterable[int] = ()) -> None:
        about = tuple(sorted(owners))
        for word in phrase.split():
            self.words.append(word)
            self.owners.append(about)

    def link(self, phrase: str, subjects: Iterable[int]) -> None:
        """Says where solids are."""
        about = tuple(sorted(subjects))
        for word in phrase.split():
            if word in LINKING:
                self.links.append((len(self.words), about))
            self.say(word)

    def begin(self) -> None:
        """The beginning of a sentence: a full stop before it unless it is the first."""
        if self.words and self.words[-1] != ".":
            self.say(".")

    # ------------------------------------------------------------------------------------------------ solids

    def noun(self, solids: tuple[int, ...]) -> str:
        forms = NOUNS[self.scene.solids[solids[0]].shape]
        form = forms[0] if self.chance(0.45) else forms[int(self.rng.integers(len(forms)))]
        return form[len(solids) > 1]

    def attributes(self, solids: tuple[int, ...]) -> dict[str, str]:
        """What will be said of all of these solids, of what they have in common."""
        chosen = {}
        for name in ORDER:
            values = {getattr(self.scene.solids[i], name) for i in solids}
            if len(values) == 1 and self.says[name] and self.chance(0.92):
                chosen[name] = values.pop()
        return chosen

    def adjective(self, name: str, value: str) -> str:
        word = self.usual(ADJECTIVES[name][value], 0.45)
        return f"very {word}" if name == "size" and self.chance(0.04) else word

    def adjectives(self, said: dict[str, str], shuffled: float = 0.15) -> list[str]:
        words = [self.adjective(name, said[name]) for name in ORDER if name in said]
        return [str(word) for word in self.rng.permutation(words)] if self.chance(shuffled) else words

    def claim(self, solids: tuple[int, ...], said: dict[str, str]) -> None:
        """Notes that these solids are named, together."""
        for i in solids:
            self.said.setdefault(i, {}).update(said)
        self.entities.append(solids)
        self.recent = solids
        if len(solids) > 1:
            self.counts.append(solids)

    def name(self, solids: tuple[int, ...], terse: bool = False) -> None:
        """Names one solid, or several of a shape: "a big red ball", "two cubes, one red and one blue"."""
        if len(solids) > 1:
            self._name_several(solids, terse)
            return
        said = self.attributes(solids)
        noun, (i,) = self.noun(solids), solids
        kind = (self.scene.solids[i].shape, tuple(said.items()))
        again = any((self.scene.solids[j].shape, tuple(self.said[j].items())) == kind for j in self.said)
        words = self.adjectives(said)
        trailing = bool(words) and self.chance(0.08)
        if terse:
            self.say(" ".join([noun, *words] if trailing else [*words, noun]), solids)
        elif trailing:
            self.say(f"{self._article(noun, again)} {noun} {self.pick(('that is', 'which is'))}", solids)
            self.say(" and ".join(words), solids)
        else:
            roll = self.rng.random()  # "one big, red ball" would go on with "two balls" before it
            between = " " if self.article == "one" or roll > 0.1 else " , " if roll > 0.05 else " and "
            adjectives = between.join(words)
            self.say(f"{self._article(words[0] if words else noun, again)} {adjectives} {noun}", solids)
        self.claim(solids, said)

    def _article(self, word: str, again: bool) -> str:
        if again and self.article == "a":
            return "another"
        return "one" if self.article == "one" else "an" if word[0] in "aeiou" else "a"

    def _name_several(self, solids: tuple[int, ...], terse: bool) -> None:
        said, number = self.attributes(solids), self.usual(NUMBERS[len(solids)], 0.5)
        apart = self.set_apart_by(solids)
        if apart == "colour" and len(solids) == 2 and not terse and self.article == "a" and self.chance(0.3):
            self._name_pair(solids)  # "a red and a blue cube"
            return
        self.say(" ".join([number, *self.adjectives(said), self.noun(solids)]), solids)
        self.claim(solids, said)
        if apart:
            words = [self.adjective(apart, getattr(self.scene.solids[i], apart)) for i in solids]
            last = len(solids) - 1
            ending = "the other" if len(solids) == 2 and self.chance(0.4) else "one"
            bare = apart == "colour" and not terse and self.chance(0.3)  # "three balls: red, white and blue"
            for k, (i, word) in enumerate(zip(solids, words, strict=True)):
                mark = self.pick((":", ",")) if bare and k == 0 else "," if k < last or terse else "and"
                self.say(mark)
                self.say(word if bare else f"{ending if k == last else 'one'} {word}", (i,))
                self.said[i][apart] = getattr(self.scene.solids[i], apart)

    def _name_pair(self, solids: tuple[int, ...]) -> None:
        noun = NOUNS[self.scene.solids[solids[0]].shape][0][0]
        for k, i in enumerate(solids):
            colour = self.scene.solids[i].colour
            word = self.adjective("colour", colour)
            if k:
                self.say("and")
            self.say(f"{'an' if word[0] in 'aeiou' else 'a'} {word}", (i,))
        self.say(noun, solids)
        for i in solids:
            self.said[i] = {"colour": self.scene.solids[i].colour}
        self.entities.append(solids)
        self.recent = solids

    def set_apart_by(self, solids: tuple[int, ...]) -> str | None:
        """By what solids that are named together differ and are to be set apart."""
        for name in ("colour", "size"):
            values = [getattr(self.scene.solids[i], name) for i in solids]
            if self.says[name] and len(set(values)) > 1:
                return name
        return None

    def reference(self, solid: int) -> str | None:
        """Words that point back to a solid that was named and to no other: "the red cube", "the cube"."""
        shape, colour = self.scene.solids[solid].shape, self.said[solid].get("colour")
        same = [i for i, s in enumerate(self.scene.solids) if s.shape == shape]
        noun = NOUNS[shape][0][0] if self.chance(0.6) else self.pick([singular for singular, _ in NOUNS[shape]])
        if len(same) == 1 and self.chance(0.5):
            return f"the {noun}"
        if colour and sum(self.scene.solids[i].colour == colour for i in same) == 1:
            return f"the {self.adjective('colour', colour)} {noun}"
        return None

    # ------------------------------------------------------------------------------------------------ relations

    def true_relations(self, subjects: tuple[int, ...], objects: tuple[int, ...]) -> list[str]:
        """Relations that each of the subjects has to each of the objects."""
        true = [
            {*relations(self.scene, a, b), *(["far"] if far_apart(self.scene, a, b) else [])}
            for a in subjects
            for b in objects
        ]
        return sorted(set.intersection(*true)) if true else []

    def relation(self, subjects: tuple[int, ...], objects: tuple[int, ...]) -> tuple[str, str] | None:
        """A true relation and a phrase for it; None where there is none."""
        true = self.true_relations(subjects, objects)
        if not true:
            return None
        weights = np.array([{"next": 0.5, "far": 0.25}.get(name, 1.0) for name in true])
        name = true[int(self.rng.choice(len(true), p=weights / weights.sum()))]
        phrase = self.usual(RELATIONS[name], 0.35)
        if name == "next" and self.chance(0.1):
            phrase = "right next to"
        deep = all(self.scene.place(a)[2] - self.scene.place(b)[2] > FAR_BEHIND for a in subjects for b in objects)
        if name == "behind" and deep and self.chance(0.3):
            phrase = "far behind"
        return name, phrase

    def relate(self, subjects: tuple[int, ...], name: str, objects: tuple[int, ...]) -> None:
        """Notes a relation that is said."""
        self.relations += [(a, name, b) for a in subjects for b in objects]
