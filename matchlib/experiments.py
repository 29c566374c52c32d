"""The experiments of lesson 04, each with its hypothesis and its prediction, for a -> b -> c asked at a.

`matchlib.interventions` says how each changes the model, `matchlib.causes` runs them. In the words below *the other* is
a node of the same sequence other than a, b and c, drawn at random, with as many nodes after it as the prediction needs.

Ask questions of the split "any": where a prediction is a rate, it is that of a guess among what is possible, and a
guess by the residues of training is right less often than that on the split "test".
"""

import matchlib.interventions as do
from matchlib.causes import Experiment

PAIRS = "Layer 0 stores each token's predecessor beside it, and the later layers look for it there."
READS_B = "Layer 1 reads b at the last position."
READS_C = "Layer 2 reads c at the last position, asking with what layer 1 wrote."
SIDE = "Buffers stand side by side: what layer 1 writes leaves the start in its place, and layer 2 reads its own."
ONE_SPACE = (
    "One space is written over: the newest token stands where the last one stood, and every layer asks from there."
)

EXPERIMENTS: dict[str, Experiment] = {
    e.name: e
    for e in (
        Experiment("read another middle", READS_B,
            "Give the other node the attention of layer 1 that b gets: the answer is the node after the other.",
            do.read_another_middle),
        Experiment("read another answer", "What layer 2 reads at the last position is what the model says.",
            "Give the other node the attention of layer 2 that c gets: the answer is the other.",
            do.read_another_answer),
        Experiment("buffer of another sequence", "What layer 1 writes stands for b and not for this sequence.",
            "Put what layer 1 wrote in another sequence, whose middle is the other: the answer is the node after it.",
            do.buffer_of_another_sequence),
        Experiment("middle by the weights", "Layer 1 writes b as e_b W_vo(1), and layer 2 asks with that.",
            "Add k (e_other - e_b) W_vo(1), k measured on other questions: the answer is the node after the other.",
            do.middle_by_the_weights),
        Experiment("middle by the query", "What layer 1 wrote acts as the query of layer 2, and not otherwise.",
            "The same, felt by the query of layer 2 alone: the answer is the node after the other.",
            do.middle_by_the_query),
        Experiment("predecessors exchanged", PAIRS,
            "Exchange what layer 0 adds at b and at the other: the answer is the node after the other.",
            do.predecessors_exchanged),
        Experiment("predecessors by the keys", "The stored predecessor is a key: it is found by, and not passed on.",
            "The same, felt by the keys of layers 1 and 2 alone: the answer is the node after the other.",
            do.predecessors_by_the_keys),
        Experiment("second predecessors exchanged", "Layer 2 finds c by the predecessor that is stored there.",
            "Exchange what layers 0 and 1 add at c and at the other: the answer is the other.",
            do.second_predecessors_exchanged),
        Experiment("second predecessors, layer 0 alone", PAIRS,
            "Exchange what layer 0 adds at c and at the other: the answer is the other.",
            do.second_predecessors_in_layer_0),
        Experiment("the circuit as told", "Pairing in layer 0, and reads of second tokens, carry the answer.",
            "Cut all other attention, whatever the question: the answer stays.",
            do.only_the_circuit_as_told),
        Experiment("only the circuit", "Pairing, in layer 1 too, and reads of second tokens carry the answer.",
            "Cut all other attention, whatever the question: the answer stays.",
            do.only_the_circuit),
        Experiment("trap: the answer given away", "To keep the one edge that reads the answer is no test of reasoning.",
            "Cut all attention but layer 2's edge to c: the model says c, with nothing to find it by.",
            do.answer_given_away),
        Experiment("no answer read", "The output reads every buffer, and the newest is loudest.",
            "Cut layer 2's edge to c: the newest buffer is b's, so the model says b.",
            do.no_answer_read),
        Experiment("answer from the runner-up", READS_C,
            "Hand layer 2's attention to c to the rest: the model says the token that had most of that rest.",
            do.answer_from_runner_up),
        Experiment("middle from the runner-up", READS_B,
            "Hand layer 1's attention to b to the rest: the answer is the node after what had most of that rest.",
            do.middle_from_runner_up),
        Experiment("no middle read", READS_B,
            "Cut layer 1's edge to b: the middle is unknown, so right one time in five, the possible answers.",
            do.no_middle_read),
        Experiment("no first pair", PAIRS,
            "Cut layer 0's edge from b to a: b is not found, so right one time in five, the possible answers.",
            do.no_first_pair),
        Experiment("no second pair", PAIRS,
            "Cut layer 0's edge from c to b: c is not found, so right one time in six, the second tokens.",
            do.no_second_pair),
        Experiment("no second pair, twice", "Layer 1 pairs as well, a second time.",
            "Cut the edge from c to b in layers 0 and 1: right one time in six, the second tokens.",
            do.no_second_pair_twice),
        Experiment("start before layer 1", "Layer 1 asks with the start.",
            "Turn a into the other at the input of layer 1: the answer is two nodes after the other.",
            do.start_before_layer_1),
        Experiment("middle before layer 2", "Layer 2 asks with the middle token.",
            "Turn b into the other at the input of layer 2: the answer is the node after the other.",
            do.middle_before_layer_2),
        Experiment("stale start swapped", SIDE,
            "Turn a into the other at the input of layer 2: nobody reads it any more, and the answer stays.",
            do.stale_start_swapped),
        Experiment("stale start removed", SIDE,
            "Take a away at the input of layer 2: nobody reads it any more, and the answer stays.",
            do.stale_start_removed),
        Experiment("rival: stale start read", ONE_SPACE,
            "Turn a into the other at the input of layer 2: the answer is the node after the other.",
            do.stale_start_read),
        Experiment("rival: the first start read", ONE_SPACE,
            "The same, with the token for the start that layer 1 met: the answer is the node after the other.",
            do.first_start_read),
        Experiment("rival: middle in the start's place", ONE_SPACE,
            "Move b at the input of layer 2 to where the start's token stands: the answer stays.",
            do.middle_in_the_place_of_the_start),
    )
}  # fmt: skip
