"""The figure on the first page: `python -m matchlib.result` draws it from the run that the course ships."""

from matchlib.plots import score_and_accuracy
from matchlib.record import write_whole
from matchlib.runs import SHIPPED, load_or_train

FIGURE = SHIPPED / "result.png"

if __name__ == "__main__":
    write_whole(FIGURE, score_and_accuracy(load_or_train("post_g07").history)._repr_png_())
