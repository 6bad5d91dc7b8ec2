"""What the page's scripts and style sheets use of Gradio's own markup, which Gradio promises to nobody.

A failure here says which piece a new version of Gradio has changed, and what of the page stands on it.
"""

import re

import pytest
from playwright.sync_api import expect

#: Selector -> what uses it. In the page as it opens.
AT_ONCE = {
    ".gradio-container": "assets/gradio.js puts dialogs there; every rule of the style sheets begins with it",
    ".gradio-container .main.fillable": "assets/page.css: width and margins of the page",
    "button#generate, #generate button": "assets/gradio.js: button()",
    "#prompt textarea": "assets/gradio.js: inputOf(); assets/page.js: the focus at the start",
    "#steps input[type=number]": "assets/gradio.js: inputOf() of a slider",
    "#steps input[type=range]": "assets/page.css: sliders",
    "#width input[type=number]": "assets/gradio.js: numberOf() of the image's size",
    "#sampler input": "assets/gradio.js: inputOf() of a dropdown",
    "#restore-row input[type=file]": "assets/gradio.js: restoreInput(), for an image dropped on the page",
    "#advanced > button.label-wrap": "assets/gradio.js: the header of an accordion",
    "#nw-tabs .tab-container button[role=tab]": "assets/page.css: tabs",
    "#nw-tabs [role=tabpanel]": "assets/page.css: tabs",
    "span[data-testid=block-info]": "assets/page.css: labels of fields",
    "#sampler .container > .wrap .wrap-inner": "assets/page.css: dropdowns",
    "#steps .head .tab-like-container": "assets/page.css: the number of a slider",
    "#steps .slider_input_container": "assets/page.css: sliders",
    "#compose .form": "assets/page.css: fields without boxes",
    "#prompt.block": "assets/page.css: fields without boxes",
}


@pytest.mark.parametrize(("selector", "use"), AT_ONCE.items(), ids=AT_ONCE)
def test_an_element_of_gradio_is_where_the_page_looks_for_it(onlooker, selector, use):
    assert onlooker.page.locator(selector).count() > 0, f"Gradio has no {selector} any more. It was for {use}."


def test_the_header_of_an_accordion_says_by_its_class_whether_it_is_open(onlooker):
    header = onlooker.page.locator("#advanced > button.label-wrap")
    for _ in range(2):
        expect(header, "assets/gradio.js: ACCORDION_OPEN").not_to_have_class(re.compile(r"\bopen\b"))
        expect(header).to_have_attribute("aria-expanded", "false")
        expect(onlooker.number("stop_sigma")).not_to_be_visible()
        header.click()
        expect(header, "assets/gradio.js: ACCORDION_OPEN").to_have_class(re.compile(r"\bopen\b"))
        expect(header).to_have_attribute("aria-expanded", "true")
        expect(onlooker.number("stop_sigma")).to_be_visible()
        header.click()


def test_the_list_of_a_dropdown_is_in_the_page_while_it_is_open(onlooker):
    listing = onlooker.page.locator("div.options:has(> [role=listbox])")
    expect(listing, "assets/gradio.js: DROPDOWN_LISTS; assets/page.css").to_have_count(0)
    onlooker.page.locator("#sampler input").click()
    expect(listing, "assets/gradio.js: DROPDOWN_LISTS; assets/page.css").to_have_count(1)
    expect(onlooker.page.locator("[role=listbox]:not(.nw-film)"), "assets/gradio.js: dropdownIsOpen()").to_have_count(1)
    onlooker.page.keyboard.press("Escape")
    expect(listing).to_have_count(0)


def test_dark_mode_is_a_class_of_the_body(page, base_url, visitor):
    page.emulate_media(color_scheme="dark")
    visitor(page, base_url)
    assert page.evaluate("document.body.classList.contains('dark')"), "assets/gradio.js: DARK"
    inks = page.evaluate(
        "['body', '.gradio-container'].map((one) => "
        "getComputedStyle(document.querySelector(one)).getPropertyValue('--body-text-color').trim())"
    )
    assert len(set(inks)) == 1, f"Gradio's own colours are not dark everywhere: {inks}"
