from typing import Annotated, Any

from torch import Tensor

from conditioning.gradients import gradient, leaf
from conditioning.registry import Help, Knob, Words, method
from samplers.flow import Cond, Denoiser, Flow


@method(
    task="text-to-image",
    paper="2105.05233",
    search=(
        "class", "label", "classifier", "stronger words",
    ),
    needs=("classifier",),
)
def classifier_guidance(
    D: Denoiser,
    asked: Annotated[Words, Help('What the classifier knows, in any order: "red cube, snow"', label="Labels")],
    scale: Annotated[
        float, Knob(0, 50, neutral=0, curve=True, label="Classifier scale",
                    help="How strongly the labels pull; at 1 they count as much as the classifier is sure of them")
    ] = 3.0,
    backbone: Any = None,
) -> Denoiser:
    """Classifier guidance.

    A classifier that was trained on noisy latents says how likely the words are at this state, and the denoised
    prediction is moved up the gradient of its logarithm (Dhariwal & Nichol 2021, Section 4). At scale 1 that is Bayes'
    rule: the denoised prediction for "words and prompt", if the classifier is right.

        x0 = x0 + scale s^2 grad_x log p(words | x, s)

    asked: what the classifier knows, in any order: "red cube, snow". Each word is asked for by itself. Raises
    ValueError with the words it knows, where there is another.

    The gradient runs through the classifier alone, not through the network: a few per cent of an evaluation. The paper
    takes 1 on class-conditional networks, and 10 on those that are not.
    """
    classifier = backbone.classifier
    words = classifier.parse(asked)

    def classified(x: Tensor, sigma: float | Tensor, cond: Cond, **kw: Any) -> Flow:
        x0 = yield from D(x, sigma, cond, **kw)
        at, _, _ = leaf(x, None)
        s = sigma if isinstance(sigma, Tensor) else x.new_full((len(x),), sigma)
        slope = gradient(classifier.log_p(at, s.to(x).expand(len(x)), words), at)
        return x0 + scale * s.reshape(-1, 1, 1, 1) ** 2 * slope

    return classified
