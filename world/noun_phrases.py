"""The noun phrases of a text: "two small red cubes", "a red and a blue one", "the cube is shiny".

What is around them, relations, places, ground and sky, is `world.parsing`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from world.claims import Claim
from world.lexicon import Item

MOST = 12  # solids that are claimed at most
ATTRIBUTES = ("colour", "size", "material")


@dataclass
class Phrase:
    """A noun phrase that is being read."""

    number: int | None = None
    definite: bool = False
    open: bool = False  # an article, a number or an adjective was there
    other: bool = False  # "one", "the other": a member of a group
    adjectives: dict[str, str] = field(default_factory=dict)


class NounPhrases(ABC):
    """Reads items from left to right and keeps the solids that are named; a method for each kind of item."""

    def __init__(self, items: list[Item]):
        self.items = items
        self.k = 0
        self.solids: list[dict[str, str | None]] = []
        self.counts: list[tuple[int, ...]] = []
        self.absent: list[Claim] = []
        self.phrase = Phrase()
        self.waiting: list[dict[str, str]] = []  # "a red" of "a red and a blue cube"
        self.loose: dict[str, str] = {}  # attributes said before any solid: "colour: red"
        self.last: list[int] = []  # the solids of the last noun phrase
        self.group: list[int] = []  # members of a counted group that nothing has set apart yet
        self.negated = self.negated_noun = False
        self.nothing = False
        self.named = False  # a solid was named in this segment
        self.in_sentence = False  # ... in this sentence

    @abstractmethod
    def _mention(self, solids: list[int]) -> None:
        """These solids are named, or pointed back to."""

    @abstractmethod
    def _sky_of_colour(self, colour: str) -> None:
        """A colour is said of the sky."""

    def _article(self, item: Item) -> None:
        self._close()
        self.phrase = Phrase(definite=item.value == "the", open=True)

    def _number(self, item: Item) -> None:
        if item.value == 1 and self.phrase.open and self.phrase.adjectives:  # "a red one"
            self._member()
            return
        if not self.phrase.definite:
            self._close()
        self.phrase.number = min(int(item.value), MOST)
        self.phrase.open = True
        self.phrase.other = item.value == 1

    def _other(self, item: Item) -> None:
        self._close()
        self.phrase = Phrase(number=1, open=True, other=True)

    def _adjective(self, item: Item) -> None:
        assert isinstance(item.value, str)
        phrase = self.phrase
        if not phrase.open and self._each_its_own(item.attribute):
            return
        if phrase.open and not phrase.other:
            phrase.adjectives.setdefault(item.attribute, item.value)
            return
        if phrase.other:
            phrase.adjectives[item.attribute] = item.value
            if self.solids and self._after_adjectives(across=not self.group) not in ("noun", "thing"):
                self._member()
            return
        then = self._after_adjectives()
        after_verb, after_noun = self._before_adjectives()
        of_next = then in ("noun", "thing") and not (after_verb and self.named and not self._lacks_noun())
        if self.nothing:
            self.absent.append(Claim(**{item.attribute: item.value}))
            self.nothing = False
        elif after_noun and self.last and self._after_adjectives(across=False) not in ("noun", "thing", "clouds"):
            self._describe(self.last, item)  # "cube red"
        elif of_next:
            self.phrase = Phrase(open=True, adjectives={item.attribute: item.value})
        elif after_verb and self.last and (self.named or self.in_sentence):
            self._describe(self.last, item)  # "the cube is red"
        elif then in ("clouds", "sky", "ground", "ground adjective", "where"):
            if then == "clouds":
                self._sky_of_colour(item.value)
        elif self.last and (self.named or self.in_sentence or after_verb):
            self._describe(self.last, item)
        elif not self.solids:
            self.loose.setdefault(item.attribute, item.value)

    def _each_its_own(self, attribute: str) -> bool:
        """ "three balls: red, white and blue": as many adjectives of a sort as the group that was named last has
        solids, and no noun after them."""
        k, values = self.k - 1, []
        while k < len(self.items) and self.items[k].kind in ("adjective", "degree", "shade", "comma", "and"):
            values += [self.items[k]] if self.items[k].kind == "adjective" else []
            k += 1
        noun_comes = k < len(self.items) and self.items[k].kind in ("noun", "thing")
        alike = all(adjective.attribute == attribute for adjective in values)
        if noun_comes or not alike or len(values) < 2 or len(values) != len(self.group) or self.group != self.last:
            return False
        for i, adjective in zip(self.group, values, strict=True):
            self._describe([i], adjective)
        self.group, self.k = [], k
        return True

    def _after_adjectives(self, across: bool = True) -> str:
        """What kind of item follows the adjectives from here on; across: those after commas and "and", too."""
        parts = ("comma", "and") if across else ()
        k = self.k
        while k < len(self.items) and self.items[k].kind in ("adjective", "degree", "shade", *parts):
            if self.items[k].kind in parts and (
                k + 1 >= len(self.items) or self.items[k + 1].kind not in ("adjective", "degree", "shade")
            ):
                break
            k += 1
        return self.items[k].kind if k < len(self.items) else ""

    def _before_adjectives(self) -> tuple[bool, bool]:
        """Whether the adjectives up to here follow a verb, as in "is red and shiny"; and whether they follow a noun
        with nothing between."""
        k = self.k - 2
        while k >= 0 and self.items[k].kind in ("adjective", "degree"):
            k -= 1
        after_noun = k >= 0 and self.items[k].kind == "noun"
        while k >= 0 and self.items[k].kind in ("adjective", "degree", "and", "comma"):
            k -= 1
        return k >= 0 and self.items[k].kind in ("verb", "colon", "both", "pronoun"), after_noun

    def _lacks_noun(self) -> bool:
        """Whether the solids before have all that the adjectives from here on say: these are of another then."""
        k, said = self.k - 1, []
        while k < len(self.items) and self.items[k].kind in ("adjective", "degree", "shade"):
            said += [self.items[k].attribute] if self.items[k].kind == "adjective" else []
            k += 1
        return any(self.solids[i].get(attribute) for attribute in said for i in self.last)

    def _describe(self, solids: list[int], item: Item) -> None:
        for i in solids:
            if not self.solids[i][item.attribute]:
                assert isinstance(item.value, str)
                self.solids[i][item.attribute] = item.value

    def _noun(self, item: Item) -> None:
        assert isinstance(item.value, str)
        self._named(item.value, item.plural)

    def _thing(self, item: Item) -> None:
        then = self.items[self.k].kind if self.k < len(self.items) else ""
        counted = self.phrase.number is not None or (self.phrase.open and not item.plural)
        if counted and (then != "colon" or (self.phrase.number or 1) > 1):
            self._named(None, item.plural)
        else:
            self.phrase = Phrase()

    def _named(self, shape: str | None, plural: bool) -> None:
        said, number = self.phrase.adjectives, self.phrase.number
        definite, self.phrase = self.phrase.definite, Phrase()
        if not self.solids:
            said = self.loose | said
        if self.negated:
            self.absent.append(Claim(shape, **said))
            self.negated_noun = True
            self.last = []
            return
        waiting, self.waiting = self.waiting, []
        self.loose = {}
        count = number if number is not None else 2 if plural and not definite and not waiting else 1
        if definite and (back := self._referents(shape, said, plural, number)):
            self._mention(back)
            return
        if definite and plural and number is None:
            count = 2
        new = [self._new(shape, attributes) for attributes in waiting]
        for _ in range(count):
            if len(self.solids) < MOST:
                new.append(self._new(shape, said))
        group = new[len(waiting) :]
        if len(group) > 1:
            self.counts.append(tuple(group))
            self.group = list(group)
        if new:
            self._mention(new)

    def _new(self, shape: str | None, said: dict[str, str]) -> int:
        self.solids.append({"shape": shape} | {name: said.get(name) for name in ATTRIBUTES})
        return len(self.solids) - 1

    def _referents(self, shape: str | None, said: dict[str, str], plural: bool, number: int | None) -> list[int]:
        """The solids that "the red cube", "the two pillars" point back to."""
        fit = [
            i
            for i, old in enumerate(self.solids)
            if (shape is None or old["shape"] == shape) and all(old[name] == value for name, value in said.items())
        ]
        if plural:
            return fit if len(fit) == number or (number is None and len(fit) > 1) else []
        return fit[:1]

    def _member(self) -> None:
        """The phrase that is being read is "a red one", "the other", "two red": the next of a counted group, or one
        more solid of the shape named last."""
        said, definite, number = self.phrase.adjectives, self.phrase.definite, self.phrase.number or 1
        self.phrase = Phrase()
        if self.group:
            members, self.group = self.group[:number], self.group[number:]
            for i in members:
                for name, value in said.items():
                    self.solids[i][name] = self.solids[i][name] or value
            self._mention(members)
        elif self.solids:
            shape = self.solids[self.last[-1] if self.last else -1]["shape"]
            back = self._referents(shape, said, False, None) if definite else []
            if back:
                self._mention(back)
            elif len(self.solids) < MOST:
                self._mention([self._new(shape, said)])

    def _close(self) -> None:
        """The end of a noun phrase, whether its noun came or not."""
        phrase = self.phrase
        if not phrase.open:
            return
        if phrase.other and (phrase.adjectives or self.group) and self.solids:
            self._member()
        elif phrase.adjectives and not phrase.other and self._noun_comes():
            self.waiting.append(phrase.adjectives)
        elif phrase.adjectives and not self.solids and not self.waiting:
            self.loose = phrase.adjectives | self.loose
        elif phrase.adjectives and phrase.open and self.group:
            self._member()
        self.phrase = Phrase()

    def _noun_comes(self) -> bool:
        """Whether the next noun of this sentence has adjectives right before it and nothing else comes first: "a red
        [and a blue cube]"."""
        k = max(self.k - 1, 0)
        after_adjective = False
        while k < len(self.items):
            kind = self.items[k].kind
            if kind == "noun":
                return after_adjective
            if kind not in ("and", "comma", "article", "number", "adjective", "degree", "shade"):
                return False
            after_adjective = after_adjective or kind == "adjective"
            k += 1
        return False
