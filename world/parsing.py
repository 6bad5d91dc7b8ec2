"""From a text to what it claims.

    parse("a red box and, behind it, two balls; no cone. Night.")
    Claims(solids=(cube, sphere, sphere), relations=((1, "behind", 0), (2, "behind", 0)), sky="night",
           counts=((1, 2),), absent=(cone,))

The items of `world.lexicon` are read from left to right. Commas, "and" and full stops part a text into segments; a
relation or a place belongs to the solid of its own segment, else to the next one or the one before.
"""

from __future__ import annotations

from itertools import pairwise

from world.claims import Claim, Claims
from world.lexicon import Item, items, split_words
from world.noun_phrases import NounPhrases, Phrase


def parse(text: str) -> Claims:
    """What a text claims. Unknown words are ignored; "the red cube" points back to a red cube if
    there is one, and "it" to the solid named last."""
    return _Parser(items(split_words(text))).claims()


class _Parser(NounPhrases):
    def __init__(self, items: list[Item]):
        super().__init__(items)
        self.relations: list[tuple[int, str, int]] = []
        self.places: list[tuple[int, str]] = []
        self.between: list[tuple[int, int, int]] = []
        self.ground: str | None = None
        self.sky: str | None = None
        self.weak_sky: str | None = None
        self.recent: list[list[int]] = []  # of all noun phrases, the latest last
        self.relation: tuple[list[int], str] | None = None  # subjects, relation: waits for its object
        self.inverted: tuple[str, list[int]] | None = None  # relation, objects: waits for its subject
        self.subjects: list[int] = []  # of the last relation of this sentence
        self.first: str | None = None  # a relation at the beginning of a segment: waits for its object
        self.in_between: tuple[list[int], list[int]] | None = None  # subjects, objects so far
        self.place: str | None = None  # waits for its solid
        self.place_leads = False  # places stand before their solids
        self.antecedent: tuple[int, list[int]] = (-1, [])  # number of noun phrases when "it" was read, and its solids
        self.row: str | None = None
        self.in_row: list[int] = []

    # ------------------------------------------------------------------------------------------------ the whole

    def claims(self) -> Claims:
        while self.k < len(self.items):
            item = self.items[self.k]
            handler = getattr(self, "_" + item.kind.replace(" ", "_"), None)
            self.k += 1
            if handler is not None:
                handler(item)
        self._close()
        self._end_segment()
        self._end_sentence()
        solids = tuple(Claim(**solid) for solid in self.solids)
        keep = self._without_header(solids)
        number = {old: new for new, old in enumerate(keep)}
        return Claims(
            solids=tuple(solids[i] for i in keep),
            relations=tuple(
                dict.fromkeys((number[a], r, number[b]) for a, r, b in self.relations if a in number and b in number)
            ),
            ground=self.ground,
            sky=self.sky or self.weak_sky,
            places=tuple(dict.fromkeys((number[a], place) for a, place in self.places if a in number)),
            between=tuple(
                dict.fromkeys(
                    (number[a], number[b], number[c]) for a, b, c in self.between if {a, b, c} <= number.keys()
                )
            ),
            counts=tuple(tuple(number[i] for i in group) for group in self.counts if set(group) <= number.keys()),
            absent=tuple(dict.fromkeys(self.absent)),
        )

    @staticmethod
    def _without_header(solids: tuple[Claim, ...]) -> list[int]:
        """Without the things of "three things: a cube, ..." where so many solids are named."""
        things = [i for i, claim in enumerate(solids) if claim == Claim()]
        named = [i for i, claim in enumerate(solids) if claim != Claim()]
        return named if len(things) == len(named) else list(range(len(solids)))

    # ------------------------------------------------------------------------------------------------ a solid is named

    def _mention(self, solids: list[int]) -> None:
        """A noun phrase or a pronoun is read: relations and places that wait for it get it."""
        if self.in_between is not None and self._add_between(solids):
            self.last = solids
            self.named = True
            return
        if self.first is not None:  # a relation at the beginning of a segment got its object
            relation, self.first = self.first, None
            before = [i for i in self.subjects or (self.last if self.in_sentence else [])]
            if before and not self._subject_follows() and not set(before) & set(solids):
                self._relate(before, relation, solids)
            else:
                self.inverted = (relation, solids)
                self._remember(solids, subject=False)
                return
        elif self.relation is not None:
            subjects, relation = self.relation
            self.relation = None
            self._relate(subjects, relation, solids)
        elif self.inverted is not None:
            relation, objects = self.inverted
            self.inverted = None
            self._relate([i for i in solids if i not in objects], relation, objects)
        if self.place is not None:
            self.places += [(i, self.place) for i in solids]
            self.place = None
        if self.row is not None:
            self.in_row += solids
        self._remember(solids)

    def _remember(self, solids: list[int], subject: bool = True) -> None:
        self.last = solids
        self.recent.append(solids)
        self.named = self.named or subject
        self.in_sentence = self.in_sentence or subject

    def _subject_follows(self) -> bool:
        """Whether a verb or a noun phrase comes right after an object: its subject, as in "behind it a ball"."""
        kinds = [item.kind for item in self.items[self.k : self.k + 1]]
        return bool(kinds) and kinds[0] in ("verb", "article", "number", "adjective", "noun", "degree", "other")

    def _relate(self, subjects: list[int], relation: str, objects: list[int]) -> None:
        self.relations += [(a, relation, b) for a in subjects for b in objects if a != b]
        if subjects:
            self.subjects = subjects

    def _add_between(self, solids: list[int]) -> bool:
        """Objects of "between" until there are two; whether these solids were such."""
        assert self.in_between is not None
        subjects, objects = self.in_between
        if len(objects) < 2:
            objects += [i for i in solids if i not in subjects][: 2 - len(objects)]
            self.recent.append(solids)
            if len(objects) == 2 and subjects:
                self._set_between()
            return True
        subjects += solids
        self._set_between()
        return False

    def _set_between(self) -> None:
        assert self.in_between is not None
        subjects, (b, c) = self.in_between
        self.between += [(a, b, c) for a in subjects if a not in (b, c)]
        self.in_between = None

    # ------------------------------------------------------------------------------------------------ relations, places

    def _relation(self, item: Item) -> None:
        assert isinstance(item.value, str)
        self._close()
        self.inverted = None if self.inverted and self.named else self.inverted
        if item.attribute == "pronoun":
            self._related_to_pronoun(item.value, "it")
            return
        if self.k < len(self.items) and self.items[self.k].kind == "pronoun":
            pronoun = str(self.items[self.k].value)
            self.k += 1
            self._related_to_pronoun(item.value, pronoun)
            return
        if item.value == "behind" and not self._object_follows():
            self._set_place("back")
        elif self.named:
            self.relation = (self.last, item.value)
        else:
            self.first = item.value
        if item.attribute == "article":
            self.phrase = Phrase(open=True)

    def _object_follows(self) -> bool:
        kind = self.items[self.k].kind if self.k < len(self.items) else ""
        return kind not in ("", "stop", "comma", "and")

    def _related_to_pronoun(self, relation: str, pronoun: str) -> None:
        if not self.named:  # "behind it a ball", "..., and behind them"
            objects = self._pronoun_of(pronoun, [])
            before = self.subjects or (self.last if self.in_sentence else [])
            if self._subject_follows() or not before or set(before) & set(objects) or not self.in_sentence:
                self.inverted = (relation, objects)
            else:
                self._relate(before, relation, objects)
            return
        again = self.antecedent[1] if self.antecedent[0] == len(self.recent) - 1 else []
        objects = again if again and pronoun == "it" else self._pronoun_of(pronoun, self.last)
        self._relate(self.last, relation, objects)
        self.antecedent = (len(self.recent), objects)  # "a box with a ball on its left and a cone on its right"

    def _pronoun_of(self, pronoun: str, but: list[int]) -> list[int]:
        """The solids of "it", the latest others, or of "them", all the others."""
        if pronoun == "them":
            return [i for i in range(len(self.solids)) if i not in but]
        return next((mentioned for mentioned in reversed(self.recent) if not set(mentioned) & set(but)), [])

    def _between(self, item: Item) -> None:
        self._close()
        subjects = list(self.last) if self.named or (self.in_sentence and not self.place_leads) else []
        self.in_between = (subjects, [])
        pronoun = self.k < len(self.items) and self.items[self.k].kind == "pronoun"
        if pronoun or not self._object_follows():  # "between them", "... in between"
            self.k += pronoun
            objects = [i for mentioned in self.recent for i in mentioned if i not in subjects]
            self.in_between[1].extend(list(dict.fromkeys(objects))[-2:])
            if subjects and len(self.in_between[1]) == 2:
                self._set_between()

    def _together(self, item: Item) -> None:
        self._close()
        pair = self.last if len(self.last) > 1 else [i for mentioned in self.recent[-2:] for i in mentioned]
        self.relations += [(a, "next", b) for a, b in pairwise(pair)]

    def _place(self, item: Item) -> None:
        assert isinstance(item.value, str)
        self._close()
        self._set_place(item.value)

    def _set_place(self, place: str) -> None:
        if self.named and self.last:
            self.places += [(i, place) for i in self.last]
        else:
            self.place_leads = self.place_leads or not self.in_sentence
            self.place = place

    def _row(self, item: Item) -> None:
        self._close()
        self.row, self.in_row = str(item.value), []

    # ------------------------------------------------------------------------------------------------ ground, sky

    def _ground(self, item: Item) -> None:
        assert isinstance(item.value, str)
        self.phrase = Phrase()
        self.ground = self.ground or item.value

    def _ground_adjective(self, item: Item) -> None:
        then = [follower.kind for follower in self.items[self.k : self.k + 2]]
        of_solid = then[:1] == ["noun"] or then == ["adjective", "noun"]
        if not of_solid:
            self._ground(item)

    def _sky(self, item: Item) -> None:
        assert isinstance(item.value, str)
        self.phrase = Phrase()
        if item.attribute == "weak":
            self.weak_sky = self.weak_sky or item.value
        else:
            self.sky = self.sky or item.value

    def _shade(self, item: Item) -> None:
        """ "dark" alone is night, and not in "dark red"."""
        then = self.items[self.k].kind if self.k < len(self.items) else ""
        if item.value and then in ("", "comma", "stop", "and", "colon", "where", "clouds") and not self.named:
            self._sky(Item("sky", item.value, "weak"))

    def _where(self, item: Item) -> None:
        self.phrase = Phrase()

    def _clouds(self, item: Item) -> None:
        for value in self.phrase.adjectives.values():
            self._sky_of_colour(value)
        then = self.items[self.k : self.k + 2]
        if [follower.kind for follower in then] == ["verb", "adjective"]:  # "the sky is grey"
            self._sky_of_colour(str(then[1].value))
            self.k += 2
        elif [follower.kind for follower in then] == ["verb", "shade"] and then[1].value:
            self.sky = self.sky or str(then[1].value)
            self.k += 2
        self.phrase = Phrase()

    def _sky_of_colour(self, colour: str) -> None:
        skies = {"blue": "day", "grey": "overcast", "white": "overcast", "black": "night", "orange": "sunset"}
        skies |= {"red": "sunset", "pink": "sunset", "purple": "sunset", "yellow": "sunset", "dull": "overcast"}
        self.sky = self.sky or skies.get(colour)

    # ------------------------------------------------------------------------------------------------ small words

    def _not(self, item: Item) -> None:
        self._close()
        self.negated, self.negated_noun = True, False

    def _nothing(self, item: Item) -> None:
        self._close()
        self.nothing = True

    def _pronoun(self, item: Item) -> None:
        """Of no relation: "it is red" speaks of the solid named last; "between it and the cube"."""
        self._close()
        solids = self._pronoun_of(str(item.value), [])
        if self.in_between is not None or self.relation is not None or self.first is not None:
            self._mention(solids)
        elif solids and self.k < len(self.items) and self.items[self.k].kind in ("verb", "relation", "place", "with"):
            then = self.items[self.k + 1].kind if self.k + 1 < len(self.items) else ""
            if then not in ("sky", "shade", "ground", "ground adjective", "article"):
                self.last = solids
                self.named = self.in_sentence = True

    def _both(self, item: Item) -> None:
        self._close()
        if self._run_says_something():
            everything = list(range(len(self.solids)))
            two = list(dict.fromkeys(i for mentioned in reversed(self.recent) for i in mentioned))[:2]
            self.last = everything if item.value == "all" else two
            self.named = self.in_sentence = True

    def _run_says_something(self) -> bool:
        kinds = [item.kind for item in self.items[self.k : self.k + 3]]
        return bool(kinds) and kinds[0] in ("adjective", "verb", "degree", "relation", "place", "shade")

    def _with(self, item: Item) -> None:
        self._close()

    def _verb(self, item: Item) -> None:
        several = self.phrase.number is not None and 1 < self.phrase.number < len(self.group)
        if (self.phrase.other or several) and not self.phrase.adjectives:  # "one is red", "two are red"
            self._member()
        elif self.phrase.open:
            self._close()

    def _and(self, item: Item) -> None:
        self._part(item)
        then = self.items[self.k] if self.k < len(self.items) else None
        bare = then is not None and then.kind == "noun" and then.plural
        if self.negated and self.negated_noun and not bare:
            self.negated = False

    def _or(self, item: Item) -> None:
        self._part(item)

    def _comma(self, item: Item) -> None:
        self._part(item)
        then = self.items[self.k].kind if self.k < len(self.items) else ""
        if self.negated and self.negated_noun and not (then in ("or", "noun") and self._or_comes()):
            self.negated = False

    def _or_comes(self) -> bool:
        """Whether an "or" ends this list: "no rings, cones or cubes"."""
        for item in self.items[self.k :]:
            if item.kind == "or":
                return True
            if item.kind not in ("noun", "comma", "adjective"):
                return False
        return False

    def _colon(self, item: Item) -> None:
        self._part(item)
        if self.place is None and self.places and not self.recent:
            self.place = self.places.pop()[1]

    def _part(self, item: Item) -> None:
        """A comma, "and", ...: adjectives may still go on ("a big, red ball")."""
        if self._adjectives_go_on(item):
            return
        self._close()
        self._end_segment()

    def _adjectives_go_on(self, item: Item) -> bool:
        """Whether the adjectives before a comma or "and" and those after it are of one solid."""
        if item.kind not in ("comma", "and") or self.k >= len(self.items) or self.k < 2:
            return False
        if self.items[self.k].kind not in ("adjective", "degree"):
            return False
        to_noun = self._after_adjectives() in ("noun", "thing")
        if self.phrase.open and self.phrase.adjectives:  # "a big, red ball"
            return to_noun
        return item.kind == "and" and self.items[self.k - 2].kind == "adjective" and not to_noun  # "is red and shiny"

    def _stop(self, item: Item) -> None:
        self._close()
        self._end_segment()
        self._end_sentence()

    def _end_segment(self) -> None:
        if self.place is not None and not self.place_leads and self.last:
            self.places += [(i, self.place) for i in self.last]
            self.place = None
        self.named = False
        self.nothing = False

    def _end_sentence(self) -> None:
        if self.row is not None and len(self.in_row) > 1:
            self.relations += [(a, self.row, b) for a, b in pairwise(self.in_row)]
            self.row = None
        self.negated = self.negated_noun = False
        self.relation = self.inverted = self.in_between = None
        self.first = None
        self.subjects, self.waiting = [], []
        self.antecedent = (-1, [])
        self.in_sentence = False
        self.place = None
        self.place_leads = False
