"""What the notes print of clothes."""

from train.reproduction.judge import Figure, Irreproducible, Near, Range
from train.reproduction.rows import listed

ROUNDING = "other hardware rounds otherwise"
POINT = Near(tolerance=1.0, why=f"one point; {ROUNDING}")
LOSS = Near(tolerance=0.03, why=f"as one point of accuracy; {ROUNDING}")
HARDWARE = Irreproducible(why="the hardware is not named")
PICTURE = "the notes read about 85 % off a picture; within two points"
ASSERTED = "the notes assert it at the end of training and print no number"


def fashion(
    epochs: str, *, by_batch: tuple[str, str], rows: tuple[float, float], seconds: str, sources: tuple[str, str]
) -> tuple[Figure, ...]:
    """Return the figures that the notes print of each of their three networks for clothes.

    Args:
        epochs: Lines of an epoch, its train loss, test loss and test accuracy in per cent.
        by_batch: Test loss and accuracy after training, means over 313 batches.
        rows: Between which per cents the accuracy over rows lies, if the one over batches is what it is.
        seconds: How long training took.
        sources: Where the epochs and the last test stand.
    """
    figures = []
    for line in epochs.strip().splitlines():
        epoch, train_loss, test_loss, test_percent = line.split()
        figures += [
            Figure(
                name=f"epoch {epoch}: train loss, test loss over batches",
                printed=(train_loss, test_loss),
                quantities=(f"train_loss@{epoch}", f"test_loss_by_batch@{epoch}"),
                rule=LOSS,
                source=sources[0],
            ),
            Figure(
                name=f"epoch {epoch}: test accuracy % over batches",
                printed=(test_percent,),
                quantities=(f"test_percent_by_batch@{epoch}",),
                rule=POINT,
                source=sources[0],
            ),
        ]
    low, high = rows
    return (
        *figures,
        Figure(
            name="test loss after training, over batches of 32",
            printed=(by_batch[0],),
            quantities=("test_loss_by_batch",),
            rule=LOSS,
            source=sources[1],
        ),
        Figure(
            name="test accuracy % after training, over batches of 32",
            printed=(by_batch[1],),
            quantities=("test_percent_by_batch",),
            rule=POINT,
            source=sources[1],
        ),
        Figure(
            name="test accuracy % after training, over rows",
            printed=(f"{low:.2f} to {high:.2f}, it follows",),
            quantities=("test_percent",),
            rule=Range(low=round(low - 1, 2), high=round(high + 1, 2), why=f"one point; {ROUNDING}"),
            source=sources[1],
        ),
        Figure(name="training, s", printed=(seconds,), quantities=("duration_s",), rule=HARDWARE, source=sources[1]),
    )


FASHION_V0 = fashion(
    "0 0.59039 0.50954 82.04\n1 0.47633 0.47989 83.20\n2 0.45503 0.47664 83.43",
    by_batch=("0.47663894295692444", "83.42651757188499"),
    rows=(83.40, 83.56),
    seconds="32.349",
    sources=("003 L6980-7002", "003 L7077-7081"),
)

FASHION_V1 = (
    *fashion(
        "0 1.09199 0.95636 65.00\n1 0.78101 0.72227 73.91\n2 0.67027 0.68500 75.02",
        by_batch=("0.6850008964538574", "75.019968"),
        rows=(74.98, 75.14),
        seconds="36.878",
        sources=("003 L7341-7354", "003 L8105-8109"),
    ),
    listed(
        "train accuracy %, epochs 0, 1, 2", "61.34 71.93 75.94", "train_percent", source="003 L7341-7354", rule=POINT
    ),
)

FASHION_TINYVGG = (
    Figure(
        name="train loss, epochs 0 and 2",
        printed=("0.593", "0.323"),
        quantities=("train_loss@0", "train_loss@2"),
        rule=LOSS,
        source="003 L8033-8036",
    ),
    Figure(
        name="test accuracy %, epochs 0 and 2",
        printed=("86.01", "88.38"),
        quantities=("test_percent@0", "test_percent@2"),
        rule=POINT,
        source="003 L8033-8036",
    ),
    *fashion(
        "",
        by_batch=("0.3285697102546692", "88.37859424920129"),
        rows=(88.36, 88.52),
        seconds="44.250",
        sources=("003 L8033-8036", "003 L8054-8056"),
    ),
    listed("true classes of nine samples", "5 1 7 4 3 0 4 7 1", "sample_true_class", source="003 L8216-8223"),
    Figure(
        name="of these nine named rightly",
        printed=("9",),
        quantities=("samples_right",),
        rule=Range(low=7, high=9, why="at 88 % right, nine runs of ten name seven or more"),
        source="003 L8281",
    ),
    listed(
        "greatest probability of the first two",
        "0.99992 0.89752",
        "sample_probability",
        source="003 L8252-8255",
        rule=Irreproducible(why=f"one probability of one run; {ROUNDING}"),
    ),
)


def softmax(source: str) -> tuple[Figure, ...]:
    """Return the figures of softmax regression."""
    return (
        Figure(
            name="train accuracy %, last epoch",
            printed=("about 85",),
            quantities=("train_percent",),
            rule=Range(low=83, high=87, why=PICTURE),
            source=source,
        ),
        Figure(
            name="test accuracy %, last epoch",
            printed=("about the same",),
            quantities=("test_percent",),
            rule=Range(low=83, high=87, why=PICTURE),
            source=source,
        ),
    )


def asserted(source: str) -> tuple[Figure, ...]:
    """Return what the notes assert of a network of which they print no number."""
    return tuple(
        Figure(name=name, printed=(words,), quantities=(quantity,), rule=rule, source=source)
        for name, words, quantity, rule in (
            ("train loss, last epoch", "below 0.5", "train_loss", Range(low=0, high=0.5, why=ASSERTED)),
            ("train accuracy %, last epoch", "above 70", "train_percent", Range(low=70, high=100, why=ASSERTED)),
            ("test accuracy %, last epoch", "above 70", "test_percent", Range(low=70, high=100, why=ASSERTED)),
        )
    )


FASHION_SOFTMAX_SCRATCH = (
    Figure(
        name="test accuracy before training, least and greatest of ten",
        printed=("0.0427", "0.1262"),
        quantities=("untrained_least", "untrained_greatest"),
        rule=Range(low=0.0, high=0.25, why="chance is 0.1, and an untrained network names few classes at all"),
        source="002 L1269-1278",
    ),
    *softmax("002 L1431"),
)
FASHION_SOFTMAX = softmax("002 L1590")
FASHION_MLP = asserted("001 L1643-1688")
FASHION_DROPOUT_MLP = asserted("001 L1815-1838")
FASHION_SOFTMAX_1000 = (
    Figure(
        name="train minus test accuracy, points",
        printed=("test settles below train",),
        quantities=("gap_points",),
        rule=Range(low=0, high=100, why="a picture without numbers"),
        source="002 L1594-1602",
    ),
)
