"""What the notes print of linear regression, weight decay, house prices and polynomials."""

from train.reproduction.judge import Figure, Irreproducible, Range, Spread
from train.reproduction.rows import listed

UNSEEDED = Spread(why="nothing is seeded; mean ± 3 standard deviations of ours over ten draws of data and weights")
FLOOR = "about the variance of the noise, 0.0001, which 1000 rows tell to ± 5 %"

LINREG_SCRATCH = (
    Figure(
        name="loss after 3 epochs",
        printed=("no number",),
        quantities=("test_loss",),
        rule=Range(low=4.5e-5, high=5.5e-5, why=f"half the squared error: half of what is {FLOOR}"),
        source="002 L19-107",
    ),
    Figure(
        name="true weights and bias minus learnt ones",
        printed=("no number",),
        quantities=("weight_error@0", "weight_error@1", "bias_error"),
        rule=Range(low=-2e-3, high=2e-3, why="noise of 0.01 over 1000 rows gives 0.0003; the steps add about as much"),
        source="002 L19-107",
    ),
)

LINREG = (
    listed(
        "loss after epochs 1, 2, 3", "0.000248 0.000103 0.000103", "test_loss", source="001 L1178-1180", rule=UNSEEDED
    ),
    Figure(
        name="true weights and bias minus learnt ones",
        printed=("-0.0010", "-0.0003", "-0.0003"),
        quantities=("weight_error@0", "weight_error@1", "bias_error"),
        rule=UNSEEDED,
        source="001 L1192-1193",
    ),
    Figure(
        name="loss after 3 epochs",
        quantities=("test_loss",),
        rule=Range(low=0.9e-4, high=1.1e-4, why=FLOOR),
        source="not in the notes",
    ),
)

WEIGHT_DECAY_0 = (
    Figure(
        name="norm of the weights",
        printed=("13.727912902832031",),
        quantities=("weight_norm",),
        rule=UNSEEDED,
        source="001 L1787",
    ),
)

WEIGHT_DECAY_3 = (
    Figure(
        name="norm of the weights",
        printed=("0.3890590965747833",),
        quantities=("weight_norm",),
        rule=UNSEEDED,
        source="001 L1791",
    ),
)

HOUSE_PRICES = (
    listed("table, four rows of three", "3 1 0 2 0 1 4 0 1 3 0 1", "table", source="001 L239-342"),
    listed("prices", "127500 106000 178100 140000", "target", source="001 L239-342"),
    Figure(
        name="predicted prices",
        printed=("no model",),
        quantities=("prediction@0", "prediction@1", "prediction@2", "prediction@3"),
        rule=Irreproducible(why="the notes stop at the table"),
        source="001 L342",
    ),
)

POLYNOMIAL = (
    Figure(
        name="test loss",
        printed=("prose only",),
        quantities=("test_loss",),
        rule=Irreproducible(why="the notes describe it without code or numbers"),
        source="001 L1725-1742",
    ),
)
