"""What the notes print of the line: bare parameters, a linear layer, three layers."""

from train.reproduction.judge import Figure, Irreproducible, Near, Range
from train.reproduction.rows import LOSSES, epoch_rows, listed

PARAMETERS_ROWS = """
0 0.312881 0.481065
10 0.197671 0.346355
20 0.089087 0.217297
30 0.053149 0.144640
40 0.045438 0.113610
50 0.041679 0.099199
60 0.038189 0.088866
70 0.034761 0.080594
80 0.031324 0.072321
90 0.027887 0.064736
"""

LINEAR_ROWS = """
0 0.5551779866218567 0.5739762187004089
900 0.0012645035749301314 0.013801801018416882
"""

DEEP_ROWS = """
0 0.75986 0.54143
100 0.09309 0.02901
200 0.07376 0.02850
300 0.06745 0.00615
400 0.06107 0.02004
500 0.05698 0.01061
600 0.04857 0.01326
700 0.06109 0.02127
900 0.05571 0.00603
"""

# Errors are means of differences of numbers near 1, which float32 holds to about 6e-8.
FLOAT32 = Near(tolerance=1e-7, why="float32 holds about seven digits; the rest differs with the order of a sum")
LAST_DIGIT = Near(tolerance=1.5e-5, why="1000 steps that jump to and fro; all other rows agree in every digit")

LINE_PARAMETERS = (
    listed("weight and bias before training", "0.3367 0.1288", "initial", source="003 L1954-1957"),
    listed(
        "predictions before training, ten test points",
        "0.3982 0.4049 0.4116 0.4184 0.4251 0.4318 0.4386 0.4453 0.4520 0.4588",
        "initial_prediction",
        source="003 L2029-2038",
    ),
    *epoch_rows(PARAMETERS_ROWS, LOSSES, source="003 L2291-2300"),
    listed("weight and bias after 100 epochs", "0.5784 0.3513", "weight", source="003 L2354"),
    listed(
        "predictions, ten test points",
        "0.8141 0.8256 0.8372 0.8488 0.8603 0.8719 0.8835 0.8950 0.9066 0.9182",
        "prediction",
        source="003 L2748-2757",
    ),
    Figure(
        name="after 100 epochs more",
        printed=("a picture",),
        quantities=(),
        rule=Irreproducible(why="never printed as a number"),
        source="003 L2314",
    ),
)

LINE_LINEAR = (
    listed("weight and bias before training", "0.7645 0.8300", "initial", source="003 L3128-3129"),
    *epoch_rows(LINEAR_ROWS, LOSSES, source="003 L3332-3334", rule=FLOAT32),
    Figure(
        name="test loss of the weights that are saved",
        quantities=("test_loss",),
        rule=Range(low=0.0, high=0.0004, why="every other step, and the last, lands 40 times nearer than printed"),
        source="not in the notes",
    ),
    listed(
        "predictions, ten test points",
        "0.8600 0.8739 0.8878 0.9018 0.9157 0.9296 0.9436 0.9575 0.9714 0.9854",
        "prediction",
        source="003 L3355-3364",
    ),
)

LINE_DEEP = (
    *epoch_rows(DEEP_ROWS, LOSSES, source="003 L4757-4766"),
    *epoch_rows("800 0.05599 0.01426", LOSSES, source="003 L4765", rule=LAST_DIGIT),
)
