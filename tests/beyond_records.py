"""Made-up answers of deeper models, shared by the tests of their verdicts and of their figures."""

FULL, NONE = [[100, 100]] * 6, [[2, 100]] * 6


def found(shift: int = 0, **changed) -> dict:
    """What a model that matches is found to do: layer `shift` stores, and the hops follow in the layers after it."""
    steps = (1, 1, 2, 1, 2, 3)
    at = [[[100 if step + shift == layer else 3, 100] for step in steps] for layer in (1, 2, 3, 4)]
    scores = [[[0.1] * layer for _ in range(layer + 1)] for layer in (1, 2, 3, 4)]
    most, least = scores, [[list(row) for row in of] for of in scores]
    for layer in (1, 3):
        most[layer][0][0] = 0.98
    least[2][3][1] = 1.0  # a kernel may match by its smallest entries
    usual = {"right": FULL[:3], "stored": FULL, "walked": FULL, "walked_at": at, "most": most, "least": least}
    usual["stored_at"] = [FULL if layer == shift else NONE for layer in range(4)]
    usual["alone"] = [FULL[:3] if layer >= shift else NONE[:3] for layer in range(4)]
    usual["instead"], usual["beside"] = [[0, 0, 100]] * 6, [[100, 0]] * 6
    usual["unsaid"] = [[1.0] * layer for layer in (1, 2, 3, 4)]
    return usual | changed


def but(index: int, hits: int, n: int = 6) -> list:
    return [[hits if i == index else 100, 100] for i in range(n)]
