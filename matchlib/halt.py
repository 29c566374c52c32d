"""A stop that is heard inside a step: before each layer, on the way back from it, and in a measurement.

A step of a large model takes longer than a learner waits. One that is cut short leaves no trace: the weights change at
its end, and its data are drawn again from the seed.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor

from matchlib.model import Transformer


class Halted(Exception):
    """A step was cut short because someone asked."""


@contextmanager
def halting(model: Transformer, asked: Callable[[], bool]) -> Iterator[None]:
    """Within the block, the model raises Halted at the next layer that it comes to once `asked()` is true."""

    def look(*_) -> None:
        if asked():
            raise Halted

    def look_on_the_way_back(block, inputs, out: Tensor) -> None:
        if out.requires_grad:
            out.register_hook(look)

    with ExitStack() as hooks:
        for block in model.blocks:
            hooks.enter_context(block.register_forward_pre_hook(look))
            hooks.enter_context(block.register_forward_hook(look_on_the_way_back))
        yield
