"""One panel of each kind of control, used by keyboard alone: every control is reached with Tab, and acts."""

import nbformat
import pytest
from playwright.sync_api import Locator, expect

CELLS = [
    "from matchlib import widgets\nfrom matchlib.runs import load_or_train",
    "board = widgets.RuleBoard()\nboard",
    "model = widgets.AskTheModel(load_or_train('post_g07_s1'))\nmodel",
]


@pytest.fixture(scope="module")
def page(server, open_notebook):
    new = nbformat.v4
    notebook = new.new_notebook(cells=[new.new_code_cell(source) for source in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, server.folder / "keyboard.ipynb")
    page = open_notebook("keyboard.ipynb")
    page.run_all()
    page.wait()
    yield page
    page.close()
    assert page.complaints == []


@pytest.fixture(scope="module")
def board(page):
    return page.panel("board")


def reach(panel: Locator, control: Locator) -> None:
    """Press Tab from the panel's first control until this one has the focus."""
    panel.locator("select, input, button, [tabindex='0']").locator("visible=true").first.focus()
    for _ in range(40):
        if control.evaluate("element => element == document.activeElement"):
            return
        panel.page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {control}")


def order(board: Locator) -> Locator:
    return board.get_by_label("or type it", exact=True)


def test_a_slider_follows_the_arrows(board):
    slider = board.locator(".widget-hslider", has=board.page.get_by_text("Edges", exact=True)).get_by_role("slider")
    reach(board, slider)
    board.page.keyboard.press("ArrowRight")
    expect(order(board)).to_have_value("0 1 2 3 4 5 6")
    board.page.keyboard.press("ArrowLeft")
    expect(order(board)).to_have_value("0 1 2 3 4 5")


def test_a_text_field_is_typed_in_and_a_button_is_pressed(board):
    reach(board, order(board))
    board.page.keyboard.press("Control+A")
    board.page.keyboard.type("3 2 1 0 4")
    board.page.keyboard.press("Enter")
    expect(board).to_contain_text("'3 2 1 0 4' is no order of 6 edges: write each of 0..5 once.")
    board.page.keyboard.type(" 5")
    board.page.keyboard.press("Enter")
    expect(board).to_contain_text("In this order")
    reach(board, board.get_by_role("button", name="Reverse", exact=True))
    board.page.keyboard.press("Space")
    expect(order(board)).to_have_value("5 4 0 1 2 3")


def test_a_list_is_chosen_from(board):
    before = board.locator("img").get_attribute("alt")
    reach(board, board.get_by_label("Start", exact=True))
    board.page.keyboard.type("2")
    expect(board.get_by_label("Start", exact=True)).to_have_value("2")
    expect(board.locator("img")).not_to_have_attribute("alt", before)


def test_a_box_is_ticked(page):
    panel = page.panel("model")
    reach(panel, panel.get_by_label("cut layer 1", exact=True))
    page.page.keyboard.press("Space")
    expect(panel).to_contain_text("with attention cut in layer 1")
    page.page.keyboard.press("Space")
    expect(panel).not_to_contain_text("with attention cut")
