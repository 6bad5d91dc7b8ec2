import pytest

from common.curves import Curve
from common.lora_tags import LoraTag, lora_tags, without_tags
from common.weighted_text import plain


@pytest.mark.parametrize("text, name, weight, text_weight", [
    ("<lora:ink>", "ink", 1, 1), ("a <lora:ink:0.8> cat", "ink", 0.8, 0.8), ("<lyco: ink : -1 >", "ink", -1, -1),
    ("<lora:ink:0.8:0.5>", "ink", 0.5, 0.8), ("<lora:ink:te=0.8:unet=0.5>", "ink", 0.5, 0.8),
    ("<lora:ink:unet=0.5>", "ink", 0.5, 1), ("<lora:ink:te=0.5>", "ink", 0.5, 0.5),
    ("<lora:a b/c-d.v2:1>", "a b/c-d.v2", 1, 1),
    ("<lora:ink:0:1, 0.4:-2, 0.6:0>", "ink", Curve(((0, 1), (0.4, -2), (0.6, 0))), -2),
])  # fmt: skip
def test_a_tag_is_read_as_a1111_reads_it(text, name, weight, text_weight):
    assert lora_tags(text) == (LoraTag(name, weight, text_weight),)


def test_several_in_order_and_none_in_other_text():
    assert [one.name for one in lora_tags("<lora:b:1> a cat <lora:a:2><lora:b:3>")] == ["b", "a", "b"]
    assert lora_tags("a <b> lora:ink:1 <hypernet:x:1>") == ()
    assert without_tags("a cat <lora:ink:1>") == "a cat "
    assert plain("a cat <lora:ink:0:1, 0.5:0> on grass") == "a cat on grass", "no word of it is read"


@pytest.mark.parametrize("text, words", [
    ("<lora::1>", "names no file"), ("<lora:ink:much>", "could not convert"),
    ("<lora:ink:1:2:3>", "more than two"),
    ("<lora:ink:11>", "-10 to 10"), ("<lora:ink:nan>", "-10 to 10"), ("<lora:ink:dyn=3>", "dyn= is not read"),
    ("<lora:ink:0:1, 2:0>", "places between 0 and 1"), ("<lora:ink:1, x>", "no strength"),
])  # fmt: skip
def test_what_cannot_be_read_is_said_with_the_tag(text, words):
    with pytest.raises(ValueError, match=words) as error:
        lora_tags(f"a cat {text}")
    assert text in str(error.value)
