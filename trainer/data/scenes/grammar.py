"""Captions of a scene: several different ones, all true.

Most captions name the shapes in one order (left to right, top to bottom) and say little beyond colours,
kinds and the relation. That is deliberate: phrases that fit every picture ("on a … background") would let a
captioner that looks at none of them score well on BLEU.
"""

import random

from trainer.data.scenes.content import Scene, Shape, pick, stream

FORWARD = {"row": "left of", "column": "above"}
BACKWARD = {"row": "right of", "column": "below"}

# Each tuple is drawn from uniformly, so repetition is weight.
OPENINGS = ("", "", "", "", "", "", "", "there is ")
SIZED = (True, False, False)
FORMS = ("forward", "forward", "forward", "forward", "forward", "and", "backward")
GROUNDS = ("", "", "", "", "", "", "texture", "both", "both")

SURFACES = {"plain": "paper", "striped": "stripes", "dotted": "dots", "checkered": "checks"}


def captions_at(seed: int, index: int, scene: Scene, count: int) -> list[str]:
    """The first `count` captions of scene `index`, no two alike; asking for more keeps the ones before."""
    rng = stream(seed, "captions", index)
    captions: dict[str, None] = {}
    while len(captions) < count:
        captions.setdefault(_caption(rng, scene))
    return list(captions)


def place_of(shape: Shape) -> str:
    """Where in the picture a lone shape stands: by the axis on which it is further from the centre."""
    dx, dy = shape.x - 0.5, shape.y - 0.5
    if max(abs(dx), abs(dy)) < 0.1:
        return "in the centre"
    if abs(dx) > abs(dy):
        return "on the left" if dx < 0 else "on the right"
    return "at the top" if dy < 0 else "at the bottom"


def _caption(rng: random.Random, scene: Scene) -> str:
    sized = pick(rng, SIZED)
    names = [_name(shape, sized) for shape in scene.shapes]
    form, opening, ground = pick(rng, FORMS), pick(rng, OPENINGS), _ground(rng, scene)
    if scene.layout == "alone":
        # A lone shape has no relation: some captions say where it is instead of on what.
        place = f" {place_of(scene.shapes[0])}" if scene.placed or form != "forward" else ""
        return opening + names[0] + place + (ground if scene.placed or not place else "")
    if form == "forward":
        body = f" {FORWARD[scene.layout]} ".join(names)
    elif form == "backward":
        body = f" {BACKWARD[scene.layout]} ".join(reversed(names))
    else:
        body = " and ".join(names)
    return opening + body + ground


def _name(shape: Shape, sized: bool) -> str:
    words = (shape.size, shape.colour, shape.kind) if sized else (shape.colour, shape.kind)
    # "an orange circle": the only vowels among the words that can come first.
    return f"{'an' if words[0][0] in 'aeiou' else 'a'} {' '.join(words)}"


def _ground(rng: random.Random, scene: Scene) -> str:
    noun = SURFACES[scene.backdrop.texture]
    words = {"": "", "texture": f" on {noun}", "both": f" on {scene.backdrop.shade} {noun}"}
    return words[pick(rng, GROUNDS)]
