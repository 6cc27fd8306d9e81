"""The serialisation of facemesh landmarks to a complete request, without a connection."""

from __future__ import annotations

from typing import Any

from ..bench import Bench
from ..figures import Figure, figure, ratio
from ..processes import rotated
from ..results import Chart, Result, Table, Target

__all__ = ["run"]

_FACES = (1, 10, 100)
_FORMS = ("lists", "float64", "float32")
_TIMES = {1: 150, 10: 20, 100: 4}
_OURS, _NO_NUMPY, _HUME = "serialization", "serialization, no numpy", "serialization of hume"


def run(bench: Bench) -> Result:
    """Measure every size and form in turn."""
    found: dict[str, list[Any]] = {}
    with bench.workers([_OURS, _NO_NUMPY, _HUME], core=bench.core) as workers:
        orders: dict[str, tuple[str, dict[str, Any]]] = {}
        for faces in _FACES:
            orders |= {f"{form} {faces}": (_OURS, {"faces": faces, "form": form}) for form in _FORMS}
            orders[f"no numpy {faces}"] = (_NO_NUMPY, {"faces": faces, "form": "lists"})
            orders[f"hume {faces}"] = (_HUME, {"faces": faces})
        for worker, arguments in orders.values():
            workers[worker].do("verify", **arguments)
        found = {name: [] for name in orders}
        for number in range(bench.rounds):
            for name in rotated(list(orders), number):
                worker, arguments = orders[name]
                times = bench.few(_TIMES[arguments["faces"]])
                found[name].append(workers[worker].do("run", times=times, **arguments))
    return _result(found)


def _result(found: dict[str, list[Any]]) -> Result:
    hume = {faces: figure(found[f"hume {faces}"]) for faces in _FACES}
    rows: list[list[str]] = []
    targets: list[Target] = []
    faster: dict[str, list[float]] = {}
    for form in (*_FORMS, "no numpy"):
        faster[form] = []
        for faces in _FACES:
            ours, alone, unchecked, orjson = (
                figure([round_[name] for round_ in found[f"{form} {faces}"]])
                for name in ("ours", "alone", "unchecked", "orjson")
            )
            share = figure([value - 1 for value in ratio(ours, unchecked).rounds])  # added by validation
            faster[form].append(ratio(hume[faces], ours).median)
            is_lists = form in {"lists", "no numpy"}
            rows.append(
                [
                    f"{form}, n = {faces}",
                    f"{faster[form][-1]:.1f}",
                    f"{ratio(ours, orjson).median:.2f}",
                    f"{ratio(hume[faces], alone).median:.1f}" if is_lists else "-",
                    f"{ratio(alone, orjson).median:.2f}" if is_lists else "-",
                    f"{share.median:.0%}",
                    f"{ours.median * 1e6:.0f}",
                    f"{hume[faces].median * 1e6:.0f}",
                ]
            )
            case, detail = f"{form}, n = {faces}", (form, faces) != ("lists", 1)
            if form != "no numpy":
                targets += _beside(f"facemesh serialisation, {case}", ours, hume[faces], orjson, detail=detail)
            if form == "lists":
                trusted = f"facemesh serialisation without the check, {case}"
                targets += _beside(trusted, alone, hume[faces], orjson, detail=detail)
            if is_lists:
                most = 45 if form == "lists" else 65
                work = f"validation of serialisation, {case}"
                targets.append(Target(work, "itself", share.scaled(100), "%", most, detail=faces > 1))
    head = ["landmarks as", "x hume", "x orjson", "unchecked: x hume", "x orjson", "validation", "us", "hume us"]
    return Result(
        family="serialization",
        tables=[Table("Serialisation (hume accepts lists only)", head, rows)],
        targets=targets,
        data={"rounds": found},
        chart=Chart(
            title="Facemesh serialisation: times faster than hume 0.6.0 (medians of the rounds' ratios)",
            unit="x faster",
            places=[f"n = {faces}" for faces in _FACES],
            series=faster,
            logarithmic=False,
        ),
    )


def _beside(work: str, ours: Figure, hume: Figure, orjson: Figure, *, detail: bool) -> list[Target]:
    return [
        Target(work, "hume", ratio(hume, ours), "x faster", 18, 22, more_is_better=True, detail=detail),
        Target(work, "orjson.dumps", ratio(ours, orjson), "x its time", 1.15, 1.05, detail=detail),
    ]
