"""What the styles of captions are made of: ground, sky, what is not there, and all solids in one sentence."""

from __future__ import annotations

from world.claims import Claim, is_between, places
from world.scene import COLOURS, SHAPES
from world.vocabulary import NOUNS, PLACES
from world.writer import Writer

Entity = tuple[int, ...]


def grouped(w: Writer) -> list[Entity]:
    """The solids in random order, those of one shape sometimes together, to be named at once."""
    solids = w.scene.solids
    left = [int(i) for i in w.rng.permutation(len(solids))]
    together = w.chance(0.75)  # those of one colour, too
    alike = together and w.chance(0.3)  # of other colours, too
    entities = []
    while left:
        first = left[0]
        same = [
            i
            for i in left
            if together
            and solids[i].shape == solids[first].shape
            and (alike or not w.says["colour"] or solids[i].colour == solids[first].colour)
        ]
        entity = tuple(same) or (first,)
        entities.append(entity)
        left = [i for i in left if i not in entity]
    return entities


# ------------------------------------------------------------------------------------------------ ground and sky


def say_ground(w: Writer, table: dict[str, tuple[str, ...]]) -> None:
    w.say(w.usual(table[w.scene.ground], 0.3))
    w.ground = w.scene.ground


def say_sky(w: Writer, table: dict[str, tuple[str, ...]]) -> None:
    w.say(w.usual(table[w.scene.sky], 0.3))
    w.sky = w.scene.sky


def say_absent(w: Writer, mark: str) -> None:
    """What is not there, with some probability; mark: "," within a sentence, "." for a sentence of its own."""
    roll = w.rng.random()
    if roll < 0.04:
        w.say(mark)
        w.say("nothing else" if mark == "." or w.chance(0.5) else "and nothing else")
        return
    if roll > 0.16:
        return
    claim = _absent(w)
    if claim.shape is None:
        w.say(mark)
        w.say(f"nothing {w.adjective('colour', claim.colour or '')}")
        w.absent.append(claim)
        return
    forms = NOUNS[claim.shape][int(w.rng.integers(len(NOUNS[claim.shape])))]
    several = w.chance(0.5)
    words = f"{w.adjective('colour', claim.colour)} {forms[several]}" if claim.colour else forms[several]
    article = "any" if several else "an" if words[0] in "aeiou" else "a"
    if mark == ".":
        w.begin()
        w.say(w.pick(("there are no" if several else "there is no", "no")))
        w.say(words)
    else:
        start = w.pick(("no", "but no", "and no", f"without {article}"))
        w.say("," if start == "no" or w.chance(0.5) else "")
        w.say(f"{start} {words}")
    w.absent.append(claim)
    others = [name for name in NOUNS if name != claim.shape and name not in {s.shape for s in w.scene.solids}]
    if claim.colour is None and others and w.chance(0.2):
        other = w.pick(others)
        w.say(f"or {NOUNS[other][0][several]}")
        w.absent.append(Claim(other))


def _absent(w: Writer) -> Claim:
    """Something that is not there."""
    solids = w.scene.solids
    if w.chance(0.15):
        return Claim(None, w.pick([colour for colour in COLOURS if all(s.colour != colour for s in solids)]))
    if w.chance(0.2):  # a shape that may be there, in a colour in which it is not
        shape = w.pick(SHAPES)
        here = {s.colour for s in solids if s.shape == shape}
        return Claim(shape, w.pick([colour for colour in COLOURS if colour not in here]))
    return Claim(w.pick([shape for shape in SHAPES if all(s.shape != shape for s in solids)]))


# ------------------------------------------------------------------------------------------------ one sentence


def say_all(w: Writer, entities: list[Entity]) -> None:
    """All entities in one sentence, some of them with a relation, a place, or between two others."""
    left = list(entities)
    triple = _triple(w, left)
    if triple is not None and w.chance(0.6):
        subject, a, b = triple
        w.name(subject)
        w.link("between" if w.chance(0.8) else "in between", subject)
        pair = None
        if a == b:
            w.name(a)
            pair = a
        else:
            w.name(a)
            w.say("and")
            w.name(b)
            pair = (a[0], b[0])
        first_named, then_named = sorted(pair, key=list(w.said).index)
        w.between.append((subject[0], first_named, then_named))
        left = [entity for entity in left if entity not in (subject, a, b)]
    first = not w.said
    while left:
        entity = left.pop(0)
        if not first:
            w.say("and" if not left or w.chance(0.1) else ",")
            if w.words[-1] == "and" and w.chance(0.1):
                w.words.insert(-1, ",")
                w.owners.insert(-1, ())
        w.name(entity)
        # Not after "two cubes, one red and one blue".
        if len(entity) == 1 or w.words[-2] not in ("one", "other", "and", "very"):
            _extend(w, entity, left)
        first = False


def _triple(w: Writer, entities: list[Entity]) -> tuple[Entity, Entity, Entity] | None:
    """An entity that is between two others, or between the two of another."""
    for subject in entities:
        if len(subject) > 1:
            continue
        for a in entities:
            if a != subject and len(a) == 2 and is_between(w.scene, subject[0], *a) and not w.set_apart_by(a):
                return subject, a, a
            for b in entities:
                alone = len({subject, a, b}) == 3 and len(a) == len(b) == 1
                if alone and is_between(w.scene, subject[0], a[0], b[0]):
                    return subject, a, b
    return None


def _extend(w: Writer, entity: Entity, left: list[Entity]) -> None:
    """After an entity: a relation to the next one, which is named with it, or to one before; or a place."""
    if len(entity) == 2 and "next" in w.true_relations(entity[:1], entity[1:]) and w.chance(0.3):
        w.link(w.pick(("side by side", "next to each other")), entity)
        w.relations.append((entity[0], "next", entity[1]))
        return
    roll = w.rng.random()
    if roll < 0.45 and left:
        other = left[0]
        if w.chance(0.65):
            relation = w.relation(entity, other)
            if relation:
                w.link(relation[1], entity)
                w.name(other)
                w.relate(entity, relation[0], other)
                left.pop(0)
        elif len(entity) == 1 and not w.set_apart_by(other):
            relation = w.relation(other, entity)
            if relation:
                w.say("with")
                w.name(other)
                w.link(relation[1], other)
                w.say("it")
                w.relate(other, relation[0], entity)
                left.pop(0)
    elif roll < 0.6 and len(w.said) > len(entity):
        earlier = [i for i in w.said if i not in entity]
        target = earlier[int(w.rng.integers(len(earlier)))]
        words, relation = w.reference(target), w.relation(entity, (target,))
        if words and relation:
            w.link(relation[1], entity)
            w.say(words, (target,))
            w.relate(entity, relation[0], (target,))
    elif roll < 0.68:
        say_place(w, entity)


def places_of(w: Writer, entity: Entity) -> list[str]:
    return sorted(set.intersection(*(set(places(w.scene, i)) for i in entity)))


def say_place(w: Writer, entity: Entity) -> bool:
    true = places_of(w, entity)
    if not true:
        return False
    place = w.pick(true)
    w.link(w.pick(PLACES[place]), entity)
    w.places += [(i, place) for i in entity]
    return True
