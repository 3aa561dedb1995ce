"""What the notes print of points in the plane: two circles, four clouds."""

from train.reproduction.judge import Figure, Irreproducible, Range
from train.reproduction.rows import LOSSES_AND_PERCENT, epoch_rows, listed

V1_ROWS = """
0 0.69396 50.88 0.69261 51.00
100 0.69305 50.38 0.69379 48.00
200 0.69299 51.12 0.69437 46.00
900 0.69298 51.00 0.69468 46.00
"""

V2_ROWS = """
0 0.69295 50.00 0.69319 50.00
100 0.69115 52.88 0.69102 52.50
200 0.68977 53.37 0.68940 55.00
300 0.68795 53.00 0.68723 56.00
400 0.68517 52.75 0.68411 56.50
500 0.68102 52.75 0.67941 56.50
600 0.67515 54.50 0.67285 56.00
700 0.66659 58.38 0.66322 59.00
800 0.65160 64.00 0.64757 67.50
900 0.62362 74.00 0.62145 79.00
"""

# The notes' fourth table: they say that its learning rate is 0.001.
V2_ROUND_4_ROWS = """
0 0.01672 0.03363
100 0.01578 0.03232
200 0.01494 0.03117
300 0.01418 0.03017
400 0.01350 0.02926
500 0.01288 0.02841
600 0.01231 0.02750
700 0.01180 0.02666
800 0.01132 0.02589
900 0.01089 0.02517
"""

BLOBS_ROWS = """
0 1.04324 65.50 0.57861 95.50
10 0.14398 99.12 0.13037 99.00
20 0.08062 99.12 0.07216 99.50
30 0.05924 99.12 0.05133 99.50
40 0.04892 99.00 0.04098 99.50
50 0.04295 99.00 0.03486 99.50
60 0.03910 99.00 0.03083 99.50
70 0.03643 99.00 0.02799 99.50
80 0.03448 99.00 0.02587 99.50
90 0.03300 99.12 0.02423 99.50
"""

UNSEEDED = Irreproducible(why="the seed is set after the network is built, so its first weights are nobody's")

CIRCLES_V0 = (
    listed("first ten true classes of the test split", "1 0 1 0 1 1 0 0 1 0", "true_class", source="003 L3955"),
    listed(
        "first five logits before training",
        "0.0555 0.0169 0.2254 0.0071 0.3345",
        "initial_logit",
        source="003 L4081-4139",
        rule=UNSEEDED,
    ),
    *epoch_rows(
        "0 0.70034 50.00 0.69484 52.50\n10 0.69718 53.75 0.69242 54.50",
        LOSSES_AND_PERCENT,
        source="003 L4263-4264",
        rule=UNSEEDED,
    ),
    Figure(
        name="test loss, last epoch",
        printed=("near ln 2 = 0.693",),
        quantities=("test_loss",),
        rule=Range(low=0.688, high=0.698, why="a straight line cannot part two circles"),
        source="003 L4466-4472",
    ),
    Figure(
        name="test accuracy %, last epoch",
        printed=("about 50 %",),
        quantities=("test_percent",),
        rule=Range(low=45, high=55, why="200 points called by chance, within 1.4 standard deviations"),
        source="003 L4466-4472",
    ),
)

CIRCLES_V1 = epoch_rows(V1_ROWS, LOSSES_AND_PERCENT, source="003 L4568-4572")

CIRCLES_V2 = (
    *epoch_rows(V2_ROWS, LOSSES_AND_PERCENT, source="003 L5106-5115"),
    listed("first ten classes named", "1 0 1 0 0 1 0 0 1 0", "class", source="003 L5175"),
    *epoch_rows(
        V2_ROUND_4_ROWS, ("train_loss", "test_loss"), source="003 L5142-5151", what="fourth round, ", skipped=3000
    ),
)

BLOBS = (
    *epoch_rows(BLOBS_ROWS, LOSSES_AND_PERCENT, source="003 L5936-5945"),
    listed("first ten classes named", "1 3 2 1 0 3 2 0 2 0", "class", source="003 L6056-6057"),
    Figure(
        name="test accuracy % after training",
        printed=("99.5",),
        quantities=("test_percent",),
        rule=Range(low=99, high=100, why="one point of 200 either way"),
        source="003 L6058",
    ),
)
