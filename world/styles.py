"""The ways in which people describe a scene: each writes a whole caption of it.

terse       "red ball, blue box, night"
sentence    "a big red ball behind two cubes, on the lawn"
statements  "on the grass stands a ball. it is red. behind it is a cube. it is night."
layout      "on the left a red ball, on the right a blue box"
row         "from left to right: a red ball, a blue box"
labels      "ball: red. box: blue. ground: grass."
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from world.claims import places
from world.phrasing import Entity, grouped, places_of, say_absent, say_all, say_ground, say_sky
from world.vocabulary import (
    GROUND_SENTENCES,
    GROUND_TERMS,
    GROUNDS,
    NUMBERS,
    OF_SEVERAL,
    OPENINGS,
    PLACES,
    SKIES,
    SKY_SENTENCES,
    SKY_TERMS,
    THINGS,
    VERBS,
)
from world.writer import Writer

# ------------------------------------------------------------------------------------------------ terse


def terse(w: Writer) -> None:
    entities = grouped(w)
    mark = w.usual((",", ".", ";", "+", "and"), 0.6)
    place = [(say_ground, GROUND_TERMS), (say_sky, SKY_TERMS)]
    place = [entry for entry in place if w.chance(0.85)]
    if w.chance(0.3):
        place.reverse()
    place_first = w.chance(0.2)

    def say_place() -> None:
        for say, table in place:
            w.say(mark if mark in (",", ".", ";") and w.words else "," if w.words else "")
            say(w, table)

    if place_first:
        say_place()
    for k, entity in enumerate(entities):
        if w.words:
            w.say("," if k == 0 and mark in ("+", "and") else mark)
        w.name(entity, terse=True)
    if not place_first:
        say_place()
    say_absent(w, ",")


# ------------------------------------------------------------------------------------------------ a sentence


def sentence(w: Writer) -> None:
    ground, sky = w.chance(0.88), w.chance(0.88)
    sky_first = sky and w.chance(0.25)
    ground_first = ground and w.chance(0.2)
    entities = grouped(w)
    if sky_first:
        say_sky(w, SKIES)
        w.say("," if w.chance(0.7) or ground_first else "")
    if ground_first:
        say_ground(w, GROUNDS)
    if ground_first and w.words[-1] != "," and w.chance(0.5):
        w.say(w.pick(tuple(VERBS)[1:]))
    elif ground_first and w.chance(0.6):
        w.say(",")
    elif w.chance(0.06) and len(w.scene.solids) > 1:
        w.say(f"{w.pick(NUMBERS[len(w.scene.solids)][:1])} {w.pick(THINGS)} :")
    elif w.chance(0.5):
        w.say(OF_SEVERAL if len(entities[0]) > 1 and w.chance(0.5) else w.pick(OPENINGS))
    say_all(w, entities)
    tail = [
        say
        for say, included in ((say_ground, ground and not ground_first), (say_sky, sky and not sky_first))
        if included
    ]
    if w.chance(0.2):
        tail.reverse()
    for say in tail:
        w.say("," if w.chance(0.3) else "")
        if say is say_ground and w.words[-1] != "," and w.chance(0.08):
            w.say("standing")
        say(w, GROUNDS if say is say_ground else SKIES)
    say_absent(w, ",")
    if w.chance(0.3):
        w.say(".")


# ------------------------------------------------------------------------------------------------ statements


def statements(w: Writer) -> None:
    """Several sentences."""
    entities = grouped(w)
    before = [say for say in (_ground_statement, _sky_statement) if w.chance(0.4)]
    after = [say for say in (_ground_statement, _sky_statement) if say not in before and w.chance(0.85)]
    for say in before:
        say(w)
    for k, entity in enumerate(entities):
        w.begin()
        _state(w, entity, k)
    _both(w)
    say_absent(w, ".")
    for say in after:
        say(w)
    w.say(".")


def _ground_statement(w: Writer) -> None:
    if w.ground is None:
        w.begin()
        say_ground(w, GROUND_SENTENCES)


def _sky_statement(w: Writer) -> None:
    w.begin()
    say_sky(w, SKY_SENTENCES)


def _state(w: Writer, entity: Entity, k: int) -> None:
    """A sentence that names an entity."""
    apart = len(entity) > 1 and w.set_apart_by(entity) is not None
    verb = "are" if len(entity) > 1 else w.pick(tuple(VERBS))
    several = tuple(VERBS.values())
    target = w.recent
    relation = w.relation(entity, target) if target and w.chance(0.6) else None
    if relation and len(target) == 1:
        words = "it" if w.chance(0.55) else w.reference(target[0])
        if words:
            owner = () if words == "it" else target
            if w.chance(0.5):
                if words == "it" and relation[0] in ("left", "right") and w.chance(0.3):
                    w.link(f"to its {relation[0]}", entity)
                else:
                    w.link(relation[1], entity)
                    w.say(words, owner)
                w.say(w.pick((verb, "there is" if len(entity) == 1 else "there are")))
                w.name(entity)
            elif not apart:
                w.name(entity)
                w.say(verb if len(entity) == 1 else w.pick(several))
                w.link(relation[1], entity)
                w.say(words, owner)
                w.recent = target if owner else entity
            else:
                w.say("there are")
                w.name(entity)
                return
            w.relate(entity, relation[0], target)
            return
    true = places_of(w, entity)
    if true and w.chance(0.2):
        place = w.pick(true)
        w.link(w.pick(PLACES[place]), entity)
        w.say(w.pick(("", ",", verb, "there is" if len(entity) == 1 else "there are")))
        w.name(entity)
        w.places += [(i, place) for i in entity]
    elif w.ground is None and w.chance(0.35):
        if w.chance(0.6):
            say_ground(w, GROUNDS)
            w.say(verb if len(entity) == 1 else w.pick(several))
            w.name(entity)
        else:
            w.name(entity)
            w.say("," if apart else verb if len(entity) == 1 else w.pick(several))
            say_ground(w, GROUNDS)
    elif len(entity) == 1 and w.chance(0.2) and any(w.says.values()):
        _predicate(w, entity)
    else:
        there, here = ("there is", "here is") if len(entity) == 1 else (OF_SEVERAL, "here are")
        w.say(w.pick((there, there, "", "i see", here)))
        w.name(entity)


def _predicate(w: Writer, entity: Entity) -> None:
    """ "there is a ball. it is red and shiny" """
    said = w.attributes(entity)
    noun = w.noun(entity)
    w.say(f"there is {'an' if noun[0] in 'aeiou' else 'a'} {noun}", entity)
    w.claim(entity, said)
    if said:
        w.say(".")
        w.say("it is")
        w.say(" and ".join(w.adjectives(said)), entity)


def _both(w: Writer) -> None:
    """ "both are small", "all are metal" """
    solids = tuple(w.said)
    if len(solids) < 2 or not w.chance(0.5):
        return
    for name in ("size", "material"):
        values = {getattr(w.scene.solids[i], name) for i in solids}
        if len(values) == 1 and not any(name in said for said in w.said.values()):
            value = values.pop()
            everything = ("both are", "both of them are") if len(solids) == 2 else ("all are", "all of them are")
            w.begin()
            w.say(f"{w.usual(everything)} {w.adjective(name, value)}", solids)
            for said in w.said.values():
                said[name] = value
            return


# ------------------------------------------------------------------------------------------------ places in the image


def layout(w: Writer) -> None:
    """Each solid with its place; falls back to a sentence where one has none."""
    solids = [int(i) for i in w.rng.permutation(len(w.scene.solids))]
    possible = {
        i: [p for p in places(w.scene, i) if p in ("left", "middle", "right")] or list(places(w.scene, i))
        for i in solids
    }
    if not all(possible.values()):
        sentence(w)
        return
    leads, labels = w.chance(0.5), w.chance(0.25)
    sky_first = w.chance(0.25)
    if sky_first:
        say_sky(w, SKIES)
        w.say("." if leads or labels else ",")
    for k, i in enumerate(solids):
        place = w.pick(possible[i])
        if k:
            w.say("." if labels else "," if k < len(solids) - 1 or leads or w.chance(0.5) else "and")
        if labels and place in ("left", "right", "middle"):
            w.link({"middle": w.pick(("middle", "centre", "center"))}.get(place, place), (i,))
            w.say(":")
            w.name((i,), terse=True)
        elif leads or labels:
            w.link(w.pick(PLACES[place]), (i,))
            w.say(w.pick(("", "", "is", "there is")))
            w.name((i,))
        else:
            w.name((i,))
            w.link(w.pick(PLACES[place]), (i,))
        w.places.append((i, place))
    _place_after(w, not sky_first, "." if leads or labels else ",")


def _place_after(w: Writer, with_sky: bool, mark: str) -> None:
    """Ground and sky at the end."""
    if w.chance(0.85):
        w.say(mark)
        say_ground(w, GROUNDS)
    if with_sky and w.chance(0.85):
        w.say(mark)
        say_sky(w, SKIES)
    say_absent(w, mark)


def row(w: Writer) -> None:
    """From left to right, where the solids stand clearly so; else a sentence."""
    across = [w.scene.place(i)[0] for i in range(len(w.scene.solids))]
    order = sorted(range(len(across)), key=across.__getitem__)
    if len(order) < 2 or any(across[b] - across[a] < 0.3 for a, b in pairwise(order)):
        sentence(w)
        return
    if w.chance(0.3):
        say_sky(w, SKIES)
        w.say(".")
    way = w.usual(("left", "right"), 0.8)
    if way == "right":
        order.reverse()
    w.say("from left to right" if way == "left" else "from right to left")
    w.say(w.pick((":", ",", "")))
    for k, i in enumerate(order):
        if k:
            w.say("and" if k == len(order) - 1 and w.chance(0.5) else ",")
        w.name((i,))
    w.relations += [(a, way, b) for a, b in pairwise(order)]
    _place_after(w, w.sky is None, w.pick((",", ".")))


def labels(w: Writer) -> None:
    """ "ball: red. box: blue. ground: grass. time: night." """
    for i in (int(i) for i in w.rng.permutation(len(w.scene.solids))):
        w.begin()
        said = w.attributes((i,))
        w.say(w.noun((i,)), (i,))
        w.claim((i,), said)
        if said:
            w.say(":")
            w.say(" , ".join(w.adjectives(said)) if w.chance(0.5) else " ".join(w.adjectives(said)), (i,))
    if w.chance(0.85):
        w.begin()
        w.say(w.pick(("ground :", "floor :", "background :")))
        say_ground(w, GROUND_TERMS)
    if w.chance(0.85):
        w.begin()
        w.say(w.pick(("time :", "light :", "time of day :")))
        say_sky(w, SKY_TERMS)
    say_absent(w, ".")


STYLES: dict[str, tuple[Callable[[Writer], None], float]] = {  # and how often of all
    "sentence": (sentence, 0.36),
    "terse": (terse, 0.16),
    "statements": (statements, 0.16),
    "layout": (layout, 0.14),
    "row": (row, 0.06),
    "labels": (labels, 0.05),
}
