"""What a person does with each panel, by hand and by keyboard, and what the page must then show.

A new lesson is one entry in `USES`: the panels that its cells show, by name, and what is done with each.
"""

import re
from collections.abc import Callable

from playwright.sync_api import Locator, expect

Use = Callable[[Locator], None]


def drag(panel: Locator, label: str, share: float) -> None:
    """Take the handle of a slider and drop it at a share of its length."""
    slider = _slider(panel, label)
    handle, mouse = slider.locator(".noUi-handle"), panel.page.mouse
    for _ in range(3):  # a page that moves meanwhile takes the handle away from the mouse
        handle.hover()
        box = slider.locator(".noUi-base").bounding_box()
        mouse.down()
        mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2, steps=6)
        mouse.up()
        if handle.evaluate("handle => handle == document.activeElement"):
            return
    raise AssertionError(f"the handle of {label!r} was not taken")


def _slider(panel: Locator, label: str) -> Locator:
    return panel.locator(".widget-hslider", has=panel.page.get_by_text(label, exact=True))


def press(panel: Locator, name: str) -> None:
    panel.get_by_role("button", name=name, exact=True).click()


def alts(panel: Locator) -> list[str]:
    return [image.get_attribute("alt") for image in panel.locator("img:visible").all()]


def says(panel: Locator, words: str) -> None:
    expect(panel).to_contain_text(re.compile(words))


def fades(panel: Locator, opacity: str) -> None:
    """The picture is this opaque, and what the panel says to the learner is not faded."""
    picture = panel.locator(".widget-html", has=panel.page.locator("img")).first
    expect(picture).to_have_css("opacity", opacity)
    expect(panel.locator(".matchlib-message")).to_have_css("opacity", "1")


def ask(panel: Locator) -> None:
    """Type a chain with a mistake, mend it by keyboard, cut a layer, see the flow."""
    chain, keys = panel.get_by_label("Chain", exact=True), panel.page.keyboard
    chain.fill("7 24 eleven 38 40 3 15")
    keys.press("Enter")
    says(panel, "'eleven' is not a whole number: write the chain as numbers")
    fades(panel, "0.35")
    chain.fill("8 25 12 39 41 4 16")
    keys.press("Tab")  # to the start, where one chooses by typing
    says(panel, r"The model reads (\d+ )+8 and says")
    fades(panel, "1")
    keys.type("12")
    says(panel, r"The model reads .* 12 and says")
    before = panel.locator("code").inner_text()
    keys.press("Tab")
    keys.press("Tab")
    expect(panel.get_by_role("button", name="Shuffle the edges")).to_be_focused()
    keys.press("Space")
    expect(panel.locator("code")).not_to_have_text(before)
    for layer in range(3):
        panel.get_by_label(f"cut layer {layer}", exact=True).set_checked(layer == 1)
    says(panel, "with attention cut in layer 1 at the last position")
    panel.get_by_label("show the information flow", exact=True).set_checked(True)
    expect(panel.locator("img:visible")).to_have_count(2)
    assert alts(panel)[0] == "2 steps from 12 lead to 41"
    press(panel, "Use unseen tokens")
    says(panel, r"The model reads (\d+ )*(5[1-9]|[6-9]\d|100) ")
    expect(panel).not_to_contain_text("is reading")


def progress(panel: Locator) -> None:
    press(panel, "Look again")
    says(panel, r"\d+ of \d+ exercises passed so far")


def explore(panel: Locator) -> None:
    """Choose a task, drag and step a slider, ask for another question, choose another task."""
    panel.get_by_label("Task", exact=True).select_option("single")
    says(panel, r"Sequence: (\d+ ){8,}\d+\. Start")
    drag(panel, "Edges of a chain", 0.0)
    says(panel, r"Sequence: (\d+ ){4}\d+\. Start")
    _slider(panel, "Edges of a chain").locator(".noUi-handle").focus()
    panel.page.keyboard.press("ArrowRight")
    says(panel, r"Sequence: (\d+ ){6}\d+\. Start")
    before = panel.inner_text()
    press(panel, "New question")
    expect(panel).not_to_have_text(before)
    panel.get_by_label("Task", exact=True).select_option("double")
    says(panel, r"Sequence: (\d+ ){12}\d+\. Start")


def train(panel: Locator) -> None:
    """Start, see it count and draw, stop; go on and stop again."""
    for _ in range(2):
        press(panel, "Start")
        says(panel, r"Training: step [\d,]+ of [\d,]+, about \d+ s left")
        press(panel, "Stop")
        says(panel, r"Stopped after [\d,]+ of [\d,]+ steps, and Start goes on: at step")
        expect(panel.get_by_role("button", name="Start", exact=True)).to_be_enabled()
    expect(panel.locator("img:visible")).to_have_count(1)


def play(panel: Locator) -> None:
    """Drag through the training, step by keyboard, match other vectors."""
    drag(panel, "Training step", 0.0)
    says(panel, "Step 0, trained tokens: argmax score layer 1")
    _slider(panel, "Training step").locator(".noUi-handle").focus()
    panel.page.keyboard.press("ArrowRight")
    says(panel, "Step 200, trained tokens: argmax score layer 1")
    panel.get_by_label("Match", exact=True).select_option("Gaussian vectors")
    says(panel, "Step 200, Gaussian vectors: argmax score layer 1")
    expect(panel.locator("img:visible")).to_have_count(2)


def patch(panel: Locator) -> None:
    """Choose an intervention, type a chain with a mistake, hear what is predicted and what is said, and count."""
    panel.get_by_label("Intervention", exact=True).select_option("swap the middle's buffer")
    chain = panel.get_by_label("Chain", exact=True)
    chain.fill("7 24 11 38 40 3")
    panel.page.keyboard.press("Enter")
    says(panel, "This chain has 6 tokens and the model was made for 7: write 7.")
    chain.fill("7 24 11 38 40 3 15")
    panel.page.keyboard.press("Enter")
    says(panel, r"The mechanism predicts \d+")
    press(panel, "Run")
    says(panel, r"(✓ Hit|✗ Miss): predicted \d+")
    press(panel, "Do it 100 times")
    says(panel, r"Done 100 times.*: \d+ of \d+ predictions came true\.")


def open_cell(panel: Locator) -> None:
    """Press a cell of the phase diagram, see its runs, train one again and stop it."""
    cells = panel.locator(".widget-gridbox button:enabled")
    chosen = cells.nth(cells.count() // 2)
    chosen.click()
    says(panel, r"\d of 5 generalise, .* \d")
    expect(panel.locator("table tbody tr")).to_have_count(5)
    expect(chosen).to_have_text(re.compile("^▸ "))
    press(panel, "Train again")
    says(panel, r"Training: step [\d,]+ of 3,000, about \d+ s left")
    press(panel, "Stop")
    says(panel, r"Stopped after [\d,]+ of 3,000 steps")
    expect(panel.locator("img:visible")).to_have_count(3)  # the seeds' curves, those of this training, its matrices
    panel.get_by_label("Measure", exact=True).select_option(index=1)
    says(panel, "press one to see its runs")


def compare(panel: Locator) -> None:
    """Choose a noise, drag the learning rate, compare at one rate."""
    panel.get_by_label("Noise", exact=True).select_option("gaussian")
    says(panel, r"Gaussian, start 1, learning rate .*: \d of \d generalise")
    before = alts(panel)
    drag(panel, "Learning rate", 0.0)
    says(panel, r"Gaussian, start 1, learning rate 0.001: \d of \d generalise")
    assert len(before) == 2 and all(before)
    panel.get_by_label("compare with none at its own best rate", exact=True).set_checked(False)
    says(panel, r"none, learning rate 0.001: \d of \d generalise")


def reorder(panel: Locator) -> None:
    """Type an order with a mistake, press for another, step the layers."""
    order = panel.get_by_label("or type it", exact=True)
    order.fill("0 1 two")
    panel.page.keyboard.press("Enter")
    says(panel, r"each of 0\.\.\d+ once")
    press(panel, "Slowest")
    says(panel, "In this order .* the fewest of any order")
    slowest = order.input_value()
    press(panel, "Fastest")
    says(panel, "In this order .* the most of any order")
    expect(order).not_to_have_value(slowest)
    drag(panel, "After layer", 0.0)
    expect(panel.locator("img:visible")).to_have_attribute("alt", re.compile("^After 0 of 3 layers: 0 steps"))


USES: dict[str, dict[str, Use]] = {
    "00_start_here": {"panel": ask, "exercises": progress},
    "01_task": {"explorer": explore},
    "02_model": {"panel": train},
    "03_matching": {"movie": play},
    "04_causes": {"lab": patch},
    "05_init_layernorm": {"panel": open_cell},
    "06_orthogonal_noise": {"lab": compare},
    "07_parallel": {"panel": reorder},
    "08_beyond": {},  # its scorecard is no widget
}
