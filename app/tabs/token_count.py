"""How many tokens a prompt takes, beside its label: "12 / 75 tokens".

Imports no Gradio and no torch.
"""

from __future__ import annotations

from html import escape

from app.service.models import Model


def line(model: Model, *texts: str) -> str:
    """HTML, of the longest of these texts; "" for empty ones, and where none are counted or the network is not loaded
    yet."""
    backbone = model.backbone
    counted = [text for text in texts if text.strip() and hasattr(backbone, "count_tokens")]
    taken, places = max((backbone.count_tokens(text) for text in counted), default=(0, 0))
    if not places:
        return ""
    size, name = backbone.count_tokens("")[1], escape(model.name)
    if taken > places:
        more = f"{name} reads {places} of them. The end of the text is not read."
    elif backbone.reads_chunks:
        chunks = f"; here {places // size} times, cut at a comma where one is near" if places > size else ""
        more = f"{name} reads {size} at a time{chunks}."
    else:
        more = f"{name} reads {places}."
    too_many = " nw-warn" if taken > places else ""
    title = f"Tokens are words or parts of words. {more}"
    return f'<span class="nw-tokens{too_many}" title="{title}">{taken} / {places} tokens</span>'
