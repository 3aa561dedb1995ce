"""The page: the notes' figures beside ours. The same results always give the same text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from train.recipes.recipe import Recipe
from train.reproduction.examples import EXAMPLES
from train.reproduction.expected import FIGURES
from train.reproduction.judge import Judgement, Verdict, judge
from train.reproduction.mistakes import MISTAKES
from train.reproduction.result import Machine, Result, Step

ORDER: tuple[Verdict, ...] = ("exact", "band", "missed", "corrected", "not reproducible")
MEANINGS: dict[Verdict, str] = {
    "exact": "every printed digit is ours, in the notes' own format",
    "band": "within the band that is stated, for the reason that is stated",
    "missed": "neither",
    "corrected": "the notes are mistaken; ours is right",
    "not reproducible": "nobody could print it again; the reason is stated",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A recipe's result with its figures judged."""

    recipe: Recipe
    result: Result
    figures: tuple[Judgement, ...]

    @property
    def passed(self) -> bool:
        """Whether it went all the way and no figure is missed."""
        return self.result.passed and all(figure.verdict != "missed" for figure in self.figures)


def judge_result(recipe: Recipe, result: Result) -> Judged:
    """Judge all figures of a recipe."""
    figures = tuple(judge(figure, result.values, result.seeds) for figure in FIGURES[recipe.name])
    return Judged(recipe=recipe, result=result, figures=figures)


def write_page(recipes: Sequence[Judged], worked: Mapping[str, float]) -> str:
    """Return the page.

    Args:
        recipes: What came of each, in the order in which they are to stand.
        worked: From `train.reproduction.worked.work_out`.
    """
    examples = tuple(judge(figure, worked) for figure in EXAMPLES)
    values = dict(worked)
    for judged in recipes:
        if judged.recipe.name == "circles-v2":
            values |= judged.result.values
    parts = [_head(recipes, examples), _overview(recipes)]
    parts += [_recipe(judged) for judged in recipes]
    parts.append(
        "## Worked examples\n\nWhat the notes work out by hand or print of a layer, computed by torch and by "
        "`train/scratch`.\n\n" + _figures(examples)
    )
    mistakes = [(m.source, m.said, m.write(values)) for m in MISTAKES]
    parts.append(
        "## The notes' own errors\n\nWhere they are wrong in a number or in what happens, and what is right here.\n\n"
        + _table(("source", "the notes say", "right"), mistakes)
    )
    return "\n\n".join(parts) + "\n"


def _head(recipes: Sequence[Judged], examples: Sequence[Judgement]) -> str:
    verdicts = Counter(figure.verdict for judged in recipes for figure in judged.figures)
    by_hand = Counter(figure.verdict for figure in examples)
    rows = [(f"*{name}*", str(verdicts[name]), str(by_hand[name]), MEANINGS[name]) for name in ORDER]
    total_s = sum(judged.result.duration_s for judged in recipes)
    training_s = sum(step.duration_s for judged in recipes for step in judged.result.steps if step.name == "train")
    machines = sorted({_machine(judged.result.machine) for judged in recipes})
    revisions = sorted({_source(judged.result) for judged in recipes})
    lines = [
        "# The notes' figures, and ours",
        "",
        "Written by `python -m train reproduce` (`make reproduce`). Each recipe was trained, exported, certified,",
        "served and asked over HTTP, and given files to predict, by the commands that a user would type. A source",
        "such as 003 L2291 is a line of the source notes; a figure may be a few numbers that stand together.",
        "",
        f"{len(recipes)} recipes in {total_s / 60:.1f} minutes, {training_s / 60:.1f} of them training.",
        *(f"Machine: {machine}." for machine in machines),
        *(f"Source: {revision}." for revision in revisions),
        "",
    ]
    return "\n".join(lines) + "\n" + _table(("verdict", "recipes", "worked examples", "what it means"), rows)


def _machine(machine: Machine) -> str:
    return (
        f"Python {machine.python}, torch {machine.torch}, {machine.system}, {machine.instructions}, "
        f"{machine.cores} cores"
    )


def _source(result: Result) -> str:
    revision, _, changed = (result.source_revision or "no checkout").partition("-")
    return f"{revision[:12]}{', changed since' if changed else ''}, digest {result.source_sha256[:12]}"


def _overview(recipes: Sequence[Judged]) -> str:
    rows = []
    for judged in recipes:
        steps = {step.name: step for step in judged.result.steps}
        verdicts = Counter(figure.verdict for figure in judged.figures)
        rows.append(
            (
                f"`{judged.recipe.name}`",
                *(_word(steps.get(name)) for name in ("parity", "serve", "batch")),
                *(str(verdicts[name] or "") for name in ("exact", "band", "missed", "not reproducible")),
                f"{steps['train'].duration_s:.0f}" if "train" in steps else "",
                f"{judged.result.duration_s:.0f}",
            )
        )
    head = ("recipe", "parity", "served", "batch", "exact", "band", "missed", "not repr.", "training, s", "all, s")
    return "## Recipes\n\n" + _table(head, rows)


def _word(step: Step | None) -> str:
    return "-" if step is None else "yes" if step.passed else "**no**"


def _recipe(judged: Judged) -> str:
    steps = "; ".join(
        f"{step.name} {step.duration_s:.1f} s{f' ({step.note})' if step.note else ''}" for step in judged.result.steps
    )
    return f"### {judged.recipe.name}\n\n{judged.recipe.title}. {steps}.\n\n" + _figures(judged.figures)


def _figures(figures: Sequence[Judgement]) -> str:
    rows = [
        (
            judgement.figure.name,
            " ".join(judgement.figure.printed) or "-",
            " ".join(judgement.ours) or "-",
            f"**{judgement.verdict}**" if judgement.verdict == "missed" else f"*{judgement.verdict}*",
            "" if judgement.verdict == "exact" else judgement.band,
            judgement.figure.source,
        )
        for judgement in figures
    ]
    return _table(("figure", "notes", "ours", "verdict", "band, and why", "source"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
