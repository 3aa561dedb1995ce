"""What the notes print in their worked examples, beside what is computed in `train.reproduction.worked`."""

from train.reproduction.judge import Figure, Near, Range, Rule, Wrong
from train.reproduction.rows import listed

ARITHMETIC = Wrong(why="1.5 x 3 - 0.5 is 4, not 3.5, and the gradient of a square has the factor 2")
LOGARITHM = Wrong(why="minus the logarithms of the printed probabilities are others")
FOUR_DIGITS = Near(tolerance=1e-4, why="the inputs are printed to four digits")


def _single(name: str, printed: str, quantity: str, *, source: str, rule: Rule | None = None) -> Figure:
    figure = listed(name, printed, quantity, source=source, rule=rule)
    return Figure(
        name=name, printed=figure.printed, quantities=(quantity,), rule=figure.rule, source=source
    )  # one number, so without an index


def _same(name: str, quantity: str, *, source: str) -> Figure:
    rule = Range(low=0.0, high=1e-6, why="greatest difference from torch's own, from -10 to 9")
    return Figure(name=name, printed=("as torch's",), quantities=(quantity,), rule=rule, source=source)


EXAMPLES = (
    listed(
        "descent by hand: five losses",
        "3.167 2.109 1.761 1.429 1.123",
        "descent_loss",
        source="003 L2441-2709",
        rule=ARITHMETIC,
    ),
    listed(
        "descent by hand: five weights",
        "1.53833 1.56956 1.59668 1.62098 1.64374",
        "descent_weight",
        source="003 L2441-2709",
        rule=ARITHMETIC,
    ),
    listed(
        "descent by hand: five biases",
        "-0.48333 -0.46926 -0.46029 -0.45219 -0.44473",
        "descent_bias",
        source="003 L2441-2709",
        rule=ARITHMETIC,
    ),
    listed("forward pass by hand: probabilities", "0.61 0.58 0.66", "circle_probability", source="003 L4270-4411"),
    listed(
        "forward pass by hand: losses and their mean",
        "0.4947 0.5440 0.4060 0.4815",
        "circle_loss",
        source="003 L4270-4411",
        rule=LOGARITHM,
    ),
    _same("ReLU by hand", "relu_difference", source="003 L5264"),
    _same("sigmoid by hand", "sigmoid_difference", source="003 L5308-5311"),
    listed(
        "Linear(2, 6) after seed 42, first row",
        "2.2368 1.2292 0.4714 0.3864 0.1309 0.9838",
        "linear",
        source="003 L710",
    ),
    listed("Flatten of 1x28x28", "1 784", "flat_shape", source="003 L6657"),
    listed("3x3 convolution of 1x3x64x64: shape", "1 10 62 62", "convolved_shape", source="003 L7670-7871"),
    listed("and pooled by 2", "1 10 31 31", "pooled_shape", source="003 L7670-7871"),
    listed("5x5 convolution, stride 2: shape", "1 10 30 30", "strided_shape", source="003 L7670-7871"),
    listed("2x2 image after seed 42", "0.3367 0.1288 0.2345 0.2303", "square", source="003 L7888-7916"),
    _single("and its greatest value", "0.3367", "pooled", source="003 L7888-7916"),
    listed(
        "softmax, first row",
        "0.5851 0.0386 0.2140 0.0728 0.0895",
        "softmax_1",
        source="002 L1186-1189",
        rule=FOUR_DIGITS,
    ),
    listed(
        "softmax, second row",
        "0.0865 0.1939 0.3921 0.1043 0.2232",
        "softmax_2",
        source="002 L1186-1189",
        rule=FOUR_DIGITS,
    ),
    _single("2 x·x for x = 0, 1, 2, 3", "28", "double_dot", source="001 L795-807"),
    listed("its gradient", "0 4 8 12", "double_dot_slope", source="001 L795-807"),
    listed("gradient of the sum of x²", "0 2 4 6", "square_slope", source="001 L832-837"),
    _single("norm of 3, -4", "5", "norm", source="001 L711-736"),
    _single("sum of their absolute values", "7", "norm_1", source="001 L711-736"),
    _single("norm of 4x9 ones", "6", "norm_ones", source="001 L711-736"),
    _single("steepest slope of sigmoid", "0.25", "sigmoid_slope", source="001 L1570-1641"),
    _single("steepest slope of tanh", "1", "tanh_slope", source="001 L1570-1641"),
    listed("1 to 5, centred", "-2 -1 0 1 2", "centred", source="001 L2338-2376"),
    listed("-p ln p of 0.99 and of 0.0001", "0.00995 0.000921", "entropy", source="002 L472-474"),
)
