"""The picture of the measurement: what each rule catches, and how often it cries wolf."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from evaluate.faults.power import Power, Share
from evaluate.faults.rules import OURS
from train.pictures.layout import house_style, new_figure, render
from train.pictures.picture import Picture

_OURS, _OTHERS, _ALARMS = "#00694b", "#8a94a6", "#b3261e"
_ROOM = 1.3


@house_style()
def draw_power(power: Power) -> Picture:
    """Draw two panels with a bar per rule: faults caught, and correct variants objected to, each with its interval."""
    rules = power.rules
    figure = new_figure(10, 0.42 * len(rules) + 1.3)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    names = [rule.name.replace("`", "") for rule in rules]
    caught, alarms = [rule.caught for rule in rules], [rule.alarms for rule in rules]
    _bars(left, caught, [_OURS if rule.name == OURS else _OTHERS for rule in rules], room=100 * _ROOM)
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.set_title(f"faults caught, of {caught[0].trials} that change the function, %")
    highest = 100 * max(share.interval_95[1] for share in alarms)
    _bars(right, alarms, [_ALARMS] * len(rules), room=highest * (_ROOM + 0.2))
    right.set_title(f"false alarms, of {alarms[0].trials} correct variants, %")
    words = (f"{rule.name}: {_text(rule.caught)} caught, {_text(rule.alarms)} false alarms" for rule in rules)
    return render(figure, "\n".join(words))


def _bars(axes: Axes, shares: Sequence[Share], colours: Sequence[str], *, room: float) -> None:
    rates = [100 * share.rate for share in shares]
    ends = [tuple(100 * end for end in share.interval_95) for share in shares]
    below = [max(0.0, rate - low) for rate, (low, _) in zip(rates, ends, strict=True)]
    above = [max(0.0, high - rate) for rate, (_, high) in zip(rates, ends, strict=True)]
    places = range(len(shares))
    axes.barh(places, rates, color=list(colours), height=0.62)
    axes.errorbar(rates, places, xerr=(below, above), fmt="none", ecolor="#30343b", elinewidth=1.2, capsize=2.5)
    for place, share, (_, high) in zip(places, shares, ends, strict=True):
        axes.text(high + room / 80, place, _text(share), va="center", fontsize=8.5)
    axes.set_xlim(0, room)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= max(100.0 if room > 100 else room, 1)])
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _text(share: Share) -> str:
    return f"{share.events} / {share.trials}"
