"""What methods are given, as a person gives it: masks and boxes drawn, moved, typed, uploaded; images of any shape."""

import json
from io import BytesIO

import pytest
from PIL import Image
from playwright.sync_api import expect

EDGES = ("left", "top", "right", "bottom")


def test_a_mask_is_drawn_and_the_run_keeps_to_it(run_cards, accessible):
    me, cards = run_cards.me, run_cards
    cards.add("blended_latent")
    expect(cards.field("0.inputs.mask")).to_contain_text("draw a mask", ignore_case=True, timeout=20_000)
    cards.card(0).get_by_role("button", name="Fill with an example").click()
    expect(cards.card(0).locator(".nw-given img")).to_be_visible()
    cards.card(0).get_by_role("button", name="Clear").click()
    expect(cards.field("0.inputs.mask")).to_have_attribute("data-empty", "true")
    cards.drag(cards.card(0).locator("canvas.nw-brush"), (0.2, 0.3), (0.5, 0.5))
    expect(cards.field("0.inputs.mask")).to_have_attribute("data-empty", "false")
    file = BytesIO()
    Image.linear_gradient("L").point(lambda level: 255 * (level < 64)).resize((64, 64)).save(file, "PNG")  # the top
    upload = cards.page.get_by_label("Mask: upload a mask")
    upload.set_input_files({"name": "mask.png", "mimeType": "image/png", "buffer": file.getvalue()})
    expect(cards.field("0.inputs.mask")).to_contain_text("25 % of the frame.")
    uploaded = json.loads(cards.given())["cards"][0]["inputs"]["mask"]
    cards.card(0).get_by_role("button", name="Invert").click()
    expect(cards.field("0.inputs.mask")).to_contain_text("75 % of the frame.")
    kept = "JSON.parse(JSON.parse(sessionStorage['nine-ways-tab']).settings.methods).cards[0].inputs.mask"
    cards.page.wait_for_function(f"{kept} !== '{uploaded}'")  # Gradio hands a change on to the undo list moments later
    me.away()
    cards.page.keyboard.press("Control+z")
    expect(cards.field("0.inputs.mask")).to_contain_text("25 % of the frame.")
    cards.page.get_by_text("Edge of the mask").click()
    for name, value in (("Grow", 8), ("Feather (mask blur)", 6)):
        number = cards.page.get_by_label(name, exact=True)
        number.fill(str(value))
        number.press("Tab")
    expect(cards.field("0.inputs.mask")).to_contain_text("31 % of the frame.")
    assert json.loads(cards.given())["cards"][0]["mask_edges"] == {"mask": {"grow": 8, "feather": 6}}
    accessible(cards.page, "[id='methods.0']")
    me.button("Generate").click()
    me.sees("done")
    cards.page.get_by_text("Settings of this image").click()
    expect(cards.page.locator("#stage dl")).to_contain_text("Blended latent diffusion")
    cards.page.reload()
    expect(cards.card(0)).to_contain_text("Blended latent diffusion")
    expect(cards.field("0.inputs.mask")).to_contain_text("31 % of the frame.")
    expect(cards.card(0).locator(".nw-given img")).to_be_visible()


def test_what_was_done_to_an_upload_is_said_below_it(cards):
    cards.add("ilvr")
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue", "green")]
    file = BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    given = {"name": "a.gif", "mimeType": "image/gif", "buffer": file.getvalue()}
    cards.card(0).locator("input[type=file]").first.set_input_files(given)
    expect(cards.card(0).locator(".nw-given img")).to_be_visible()
    expect(cards.field("0.inputs.reference")).to_contain_text("The image has 3 frames: the first is taken.")


SHADED = """(canvas) => {
    const { width: w, height: h } = canvas, data = canvas.getContext("2d").getImageData(0, 0, w, h).data;
    return [0.05, 0.5, 0.95].map((x) => data[4 * (Math.round(0.06 * h) * w + Math.round(x * w)) + 3] > 0);
}"""  # whether the band along the top is painted left, in the middle and right


def test_the_sheet_has_the_shape_of_the_result_at_every_size_and_the_mask_stays_where_it_was(cards):
    cards.add("replacement")
    canvas = cards.card(0).locator("canvas.nw-brush")
    for y in (0.02, 0.06, 0.1):
        cards.drag(canvas, (0.01, y), (0.99, y))
    expect(cards.field("0.inputs.mask")).to_have_attribute("data-empty", "false")
    for width, height in ((256, 128), (128, 256), (640, 128), (128, 128)):
        cards.me.put("width", width)
        cards.me.put("height", height)
        cards.page.wait_for_function(
            """([aspect]) => { const box = document.querySelector("canvas.nw-brush").getBoundingClientRect();
            return Math.abs(box.width / box.height / aspect - 1) < 0.02; }""", arg=[width / height],
        )  # fmt: skip
        cards.page.wait_for_function(f"({SHADED})(document.querySelector('canvas.nw-brush')).every(Boolean)")


def test_a_mask_is_painted_from_the_keyboard(cards):
    cards.add("replacement")
    canvas = cards.card(0).locator("canvas.nw-brush")
    canvas.focus()
    for key in ("ArrowRight", "ArrowDown", " "):
        canvas.press(key)
    expect(cards.field("0.inputs.mask")).to_have_attribute("data-empty", "false")


def test_boxes_are_drawn_named_and_typed(run_cards, accessible):
    me, cards = run_cards.me, run_cards
    cards.add("multidiffusion")
    cards.drag(cards.card(0).locator(".nw-sheet-draw"), (0.1, 0.2), (0.5, 0.7))
    cards.page.keyboard.type("a red cube")  # the field of the new box has the focus
    cards.card(0).get_by_role("button", name="Add a box").click()
    cards.page.get_by_label("Box 2: what is in it").fill("a blue sphere")
    cards.page.get_by_label("Box 2: Left, per cent").fill("60")
    cards.page.get_by_label("Box 2: Right, per cent").fill("95")
    cards.page.get_by_label("Box 2: Right, per cent").press("Tab")
    one, two = json.loads(cards.given())["cards"][0]["inputs"]["regions"]
    assert one["text"] == "a red cube" and abs(one["left"] - 0.1) < 0.02 and abs(one["bottom"] - 0.7) < 0.02
    assert (two["text"], two["left"], two["right"]) == ("a blue sphere", 0.6, 0.95)
    sheet, box = cards.card(0).locator(".nw-sheet-draw"), cards.card(0).locator(".nw-box[data-place='0']")
    edges = lambda: [json.loads(cards.given())["cards"][0]["inputs"]["regions"][0][edge] for edge in EDGES]  # noqa: E731
    before = edges()
    cards.drag(sheet, (0.3, 0.45), (0.4, 0.55))  # its inside moves it, its corner resizes it; both keep its words
    moved = edges()
    assert [round(b - a, 1) for a, b in zip(before, moved)] == [0.1, 0.1, 0.1, 0.1]
    cards.drag(sheet, (moved[2], moved[3]), (moved[2] - 0.1, moved[3] - 0.2))
    assert edges() == pytest.approx([moved[0], moved[1], moved[2] - 0.1, moved[3] - 0.2], abs=0.03)
    resized = edges()
    expect(box).to_be_focused()
    cards.page.keyboard.press("ArrowLeft")
    cards.page.keyboard.press("Shift+ArrowDown")
    keyed = [resized[0] - 0.01, resized[1], resized[2] - 0.01, resized[3] + 0.01]
    assert edges() == pytest.approx(keyed, abs=1e-6)
    expect(cards.page.get_by_label("Box 1: Left, per cent")).to_have_value(str(round(100 * keyed[0])))
    cards.page.keyboard.press("Delete")
    expect(cards.card(0).locator(".nw-box")).to_have_count(1)
    kept = "JSON.parse(JSON.parse(sessionStorage['nine-ways-tab']).settings.methods).cards[0].inputs.regions.length"
    cards.page.wait_for_function(f"{kept} === 1")  # Gradio hands a change on to the undo list some moments later
    cards.page.keyboard.press("Control+z")
    expect(cards.card(0).locator(".nw-box")).to_have_count(2)
    assert json.loads(cards.given())["cards"][0]["inputs"]["regions"][0]["text"] == "a red cube"
    accessible(cards.page, "[id='methods.0']")
    me.prompt.fill("a red cube and a blue sphere on grass")
    me.button("Generate").click()
    me.sees("done")


def test_the_end_of_a_prompt_that_is_too_long_is_pointed_out(onlooker):
    unread, counted = onlooker.page.locator("#prompt .nw-unused"), onlooker.page.locator("#prompt-tokens")
    onlooker.prompt.fill("")
    expect(counted).to_be_empty()
    below = onlooker.page.locator("#negative").bounding_box()
    onlooker.prompt.fill("a large red sphere to the left of a small blue cube on grass at sunset and " * 4 + "a torus")
    expect(unread).to_contain_text("the end is not read, from “")
    expect(unread).to_contain_text("54 tokens")
    expect(counted).to_have_text("70 / 54 tokens")
    onlooker.prompt.fill("a torus")
    expect(unread).to_have_count(0)
    expect(counted).to_have_text("2 / 54 tokens")
    expect(onlooker.prompt).to_have_accessible_description("2 / 54 tokens")
    assert onlooker.page.locator("#negative").bounding_box() == below, "the count moves nothing"
