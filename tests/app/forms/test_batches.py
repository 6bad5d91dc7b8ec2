"""Which images are one batch, by their recipes."""

from app.forms.batches import batch_of, batches, number_of
from app.schema.recipe import Recipe

FOUR = Recipe(prompt="a cone", seed=2**32 - 2, count=4)
VARIED = Recipe(prompt="a cone", seed=7, variation_seed=3, variation_strength=0.2, count=3)


def each(recipe, **made):
    return [recipe.one(i).model_copy(update=made) for i in range(recipe.count)]


def test_images_of_a_batch_are_known_by_their_recipes():
    for whole in (FOUR, VARIED):
        assert batch_of(each(whole)) == whole
        assert batch_of(each(whole)[::-1]) is None and batch_of(each(whole)[:2]).count == 2
    assert batch_of([*each(FOUR)[:2], each(FOUR)[2].but(steps=7)]) is None
    made = each(FOUR, revision="abc", versions={"torch": "2"})
    assert batch_of(made) == FOUR.model_copy(update={"revision": "abc", "versions": {"torch": "2"}})


def test_files_of_a_batch_have_names_of_their_own():
    for whole in (FOUR, VARIED):
        assert len({number_of(one) for one in each(whole)}) == whole.count
    assert number_of(Recipe(seed=7, variation_seed=3)) == "7" and number_of(VARIED) == "7-3"


def test_batches_stand_side_by_side():
    one = Recipe(prompt="a cube", seed=1)
    assert batches([one, *each(FOUR), *each(VARIED), one, one]) == [0, 1, 1, 1, 1, 2, 2, 2, 3, 4]
    assert batches([Recipe(seed=6), Recipe(seed=5)]) == [0, 1], "made one after the other, the newest first"
    assert batches([]) == []
