"""What people have who trained a network elsewhere: a .py file, weights, labels, samples."""

from pathlib import Path

import torch
from torch import nn

from export.__main__ import main
from export.command import Export, Inputs, Network, Outputs
from export.factory import build_module, load_factory

SOURCE = '''
"""Networks of somebody's own."""

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=3, width=4):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(4)
        )
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(16 * width, classes)

    def forward(self, x):
        return self.head(self.dropout(self.features(x).flatten(1)))


class Ending(Net):
    """Ends as nobody should who is to be exported as a classifier."""

    def __init__(self, last="softmax", classes=3):
        super().__init__(classes)
        self.last = last

    def forward(self, x):
        logits = super().forward(x)
        return {
            "softmax": lambda: logits.softmax(dim=1),
            "sigmoid": lambda: logits.sigmoid(),
            "squash": lambda: logits.clamp(0, 1),
            "one": lambda: logits[:, 0],
            "squeeze": lambda: logits[:, :1].squeeze(),
            "mean": lambda: logits.mean(),
            "best": lambda: logits.argmax(dim=1),
            "map": lambda: {"out": self.features(x), "aux": None, "best": logits.argmax(dim=1)},
            "nested": lambda: (logits, [logits]),
            "text": lambda: "pizza",
            "half": lambda: (logits.half(), logits),
            "nothing": lambda: {},
            "zeros": lambda: logits * 0,
        }[self.last]()


class Rows(nn.Module):
    """A table in, a number out; float32 is named in forward."""

    def __init__(self, columns=3, targets=1):
        super().__init__()
        self.linear = nn.Linear(columns, 5)
        self.cell = nn.GRUCell(5, 4)
        self.last = nn.Linear(4, targets)

    def forward(self, table):
        before = torch.zeros(table.shape[0], 4)
        return self.last(self.cell(self.linear(table.float()), before))


class Pair(nn.Module):
    """Two inputs in, two outputs out."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 4)
        self.numbers = nn.Linear(6, 4)

    def forward(self, tokens, grid):
        together = self.words(tokens).mean(dim=1) + self.numbers(grid.flatten(1))
        return {"score": together.sum(dim=1, keepdim=True), "together": together}


def build(**settings):
    return Net(**settings)


def build_nothing():
    return "a network"


def build_broken():
    raise ZeroDivisionError("nothing to divide by")


number = 3
'''


def place(folder: Path) -> Path:
    """Write ``net.py``, its weights as DataParallel saves them, and labels."""
    (folder / "net.py").write_text(SOURCE, encoding="utf-8")
    network = build("Net")
    torch.save({"epoch": 3, "state_dict": nn.DataParallel(network).state_dict()}, folder / "net.pth")
    (folder / "labels.txt").write_text("pizza\nsteak\nsushi\n", encoding="utf-8")
    return folder


def build(name: str, **args: int | str) -> nn.Module:
    """Build a network of ``net.py`` in the working directory, always with the same weights and statistics."""
    torch.manual_seed(0)
    network = build_module(load_factory(f"net.py:{name}"), dict(args))
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 2)
    return network.eval()


def save(name: str, **args: int | str) -> str:
    """Save a network's weights beside ``net.py`` and return the file's name."""
    torch.save(build(name, **args).state_dict(), f"{name}.pt")
    return f"{name}.pt"


def command(
    factory: str = "net.py:Net",
    weights: str | None = "net.pth",
    *,
    args: tuple[str, ...] = (),
    preset: str | None = None,
    out: Path | None = None,
    name: str | None = None,
    labels: Path | None = Path("labels.txt"),
    targets: tuple[str, ...] = (),
    outputs: tuple[str, ...] = (),
    **goes_in: object,
) -> Export:
    """Return a command as the command line would make it."""
    goes_in.setdefault("inputs", ("image:uint8[16,16,3]",))
    return Export(
        out=out,
        name=name,
        network=Network(factory=factory, factory_args=args, weights=weights, preset=preset),
        goes_in=Inputs(**goes_in),
        comes_out=Outputs(labels=labels, targets=targets, outputs=outputs),
    )


def run(*args: str) -> int:
    """Run ``python -m export`` in this process."""
    return main(list(args))
