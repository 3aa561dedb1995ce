"""What the notes print of pizza, steak and sushi: means over batches, which are not those over photos."""

from train.reproduction.judge import Figure, Irreproducible, Near, Range
from train.reproduction.rows import epoch_rows, listed

LOSSES = """
1 1.107833 1.136041
2 1.084713 1.162014
3 1.115697 1.169704
4 1.095564 1.138373
5 1.098520 1.142631
"""
SHARES = """
1 0.257812 0.260417
2 0.425781 0.197917
3 0.292969 0.197917
4 0.414062 0.197917
5 0.292969 0.197917
"""
AUGMENTED_LOSSES = """
1 1.1074 1.1058
2 1.0791 1.1382
3 1.0803 1.1685
4 1.1285 1.1623
5 1.0880 1.1472
"""
AUGMENTED_SHARES = """
1 0.2500 0.2604
2 0.4258 0.2604
3 0.4258 0.2604
4 0.3047 0.2604
5 0.4258 0.2604
"""

BY_BATCH_LOSSES = ("train_loss_by_batch", "test_loss_by_batch")
BY_BATCH_SHARES = ("train_share_by_batch", "test_share_by_batch")
LOSS = Near(tolerance=0.01, why="nothing is learnt and all stays near ln 3; other hardware rounds otherwise")
POINT = Near(tolerance=0.01, why="one point; other hardware rounds otherwise")
HARDWARE = Irreproducible(why="the hardware is not named")


def _food(losses: str, shares: str, *, always: str, by_rows: float, seconds: str, source: str) -> tuple[Figure, ...]:
    return (
        listed("training photos of pizza, steak, sushi", "78 75 72", "train_rows", source="003 L8763-8771"),
        listed("test photos of pizza, steak, sushi", "25 19 31", "test_rows", source="003 L8763-8771"),
        *epoch_rows(losses, BY_BATCH_LOSSES, source=source, rule=LOSS, first=1),
        *epoch_rows(shares, BY_BATCH_SHARES, source=source, rule=POINT, first=1),
        Figure(
            name="test accuracy over rows, last epoch",
            printed=(f"{by_rows:.4f}, it follows: always {always}",),
            quantities=("test_share",),
            rule=Range(low=by_rows - 0.01, high=by_rows + 0.01, why="one point"),
            source=source,
        ),
        Figure(name="training, s", printed=(seconds,), quantities=("duration_s",), rule=HARDWARE, source=source),
    )


FOOD_TINYVGG = _food(
    LOSSES, SHARES, always="steak", by_rows=19 / 75, seconds="4.935", source="003 L10440-10445, L11066-11071"
)
FOOD_TINYVGG_AUGMENTED = _food(
    AUGMENTED_LOSSES, AUGMENTED_SHARES, always="pizza", by_rows=25 / 75, seconds="4.924", source="003 L11014-11019"
)
FOOD_IMPROVED_TINYVGG = (
    Figure(
        name="test accuracy over rows, last epoch",
        printed=("never trained",),
        quantities=("test_share",),
        rule=Irreproducible(why="as printed it takes 32x32 images, and the photos are 64x64"),
        source="003 L10535-10558",
    ),
)
