"""The benchmark of the drift detector: `python -m driftserve_benchmark --archive FILE --data FOLDER`.

    make bench-drift DATA=folder [OOD=folder]        after `make demo` with the same DATA

Prints the table of docs/drift.md, a line a measure with its target. Exit status: 0 all targets met, 1 one is not, or
the images or the archive cannot be used (one line on stderr says why), 2 wrong usage.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from driftserve.archive import find_archive, read_contract
from driftserve.certification import FULL, false_alarms
from driftserve.contract import WINDOWS_IN_LONG, Contract
from driftserve.corruption import CORRUPTIONS
from driftserve.errors import DriftserveError
from driftserve.population import Draw, Population
from driftserve_benchmark import measures
from driftserve_benchmark.cells import Images, score_all
from driftserve_benchmark.detectors import e_process, two_horizons
from driftserve_benchmark.table import Row, to_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table."""
    options = _parser().parse_args(arguments)
    try:
        archive = find_archive(options.archive)
        images = score_all(archive, options.data, options.ood, options.cache, options.workers)
        contract = read_contract(archive)
        population = images.population
        drawn = population.halves(options.draws, seed=0)
        rows = [
            *_calm(population, drawn, contract, options),
            *_power(population, drawn, contract, options.power_windows),
            *_mixtures(images, drawn, contract, options.power_windows),
            *_sequential(images, drawn, contract),
            *_senders(population, contract),
            *_harm(images, drawn),
        ]
    except DriftserveError as error:
        print(f"driftserve_benchmark: {error}", file=sys.stderr)
        return 1
    print(to_table(rows))
    return 0 if all(row.is_met for row in rows if row.is_met is not None) else 1


def _calm(
    population: Population, drawn: Sequence[Draw], contract: Contract, options: argparse.Namespace
) -> Iterator[Row]:
    policy, half = contract.drift, len(population.clean) // 2
    shown = tqdm(drawn, desc="calm windows")
    real = false_alarms(population, shown, policy.window_size, policy.level, options.windows)
    synthetic = measures.calm_synthetic(
        population,
        half,
        options.draws,
        policy.window_size * WINDOWS_IN_LONG,
        policy.long_level,
        options.windows // WINDOWS_IN_LONG,
        seed=1,
    )
    for name, alarms in (("real images", real), ("synthetic features", synthetic)):
        text = f"{alarms.rate:.5f}, bound {alarms.upper_bound:.5f}, worst draw {alarms.worst:.5f}"
        target = f"bound <= {1.5 * alarms.budget:.5f}, worst <= {5 * alarms.budget:.5f}"
        is_met = alarms.upper_bound <= 1.5 * alarms.budget and alarms.worst <= 5 * alarms.budget
        yield Row(f"calm windows of {alarms.size}, {name}", text, target, is_met)
    share = measures.calm_runs(population, half, policy, two_horizons, options.runs, 100, seed=2)
    yield Row(f"any alarm in 100 calm windows, {options.runs} runs", f"{share:.3f}", "<= 0.12", share <= 0.12)
    share = measures.calm_runs(population, half, policy, e_process, options.runs, 100, seed=2)
    yield Row("the same of the e-process", f"{share:.3f}")


def _power(population: Population, drawn: Sequence[Draw], contract: Contract, windows: int) -> Iterator[Row]:
    size, level = contract.drift.window_size, contract.drift.level
    long_size, long_level = size * WINDOWS_IN_LONG, contract.drift.long_level
    table: dict[str, dict[object, float]] = {kind: {} for kind in ("window", "long window", "softmax")}
    for cell in tqdm([cell for cell in FULL.cells if cell[1] in (1, 3)], desc="power"):
        rows = population.corrupted[cell]
        table["window"][cell] = measures.power(drawn, measures.of(rows, size), level, windows)
        if cell[1] == 1:
            table["softmax"][cell] = measures.softmax_power(population, drawn, measures.of(rows, size), level, windows)
            table["long window"][cell] = measures.power(drawn, measures.of(rows, long_size), long_level, windows)
    for name in CORRUPTIONS:
        mild, strong = (name, 1), (name, 3)
        yield Row(
            f"{name}: severity 1 / 3 in {size}; severity 1 in {long_size}; softmax only, severity 1 in {size}",
            f"{table['window'][mild]:.2f} / {table['window'][strong]:.2f}; {table['long window'][mild]:.2f}; "
            f"{table['softmax'][mild]:.2f}",
        )
    seen = sum(table["window"][name, 3] >= 0.95 for name in CORRUPTIONS)
    yield Row("severity 3 seen with power >= 0.95", f"{seen} of {len(CORRUPTIONS)}", ">= 14", seen >= 14)
    mild_power, long_power, softmax = (
        float(np.mean([table[kind][name, 1] for name in CORRUPTIONS])) for kind in ("window", "long window", "softmax")
    )
    yield Row(f"severity 1 in {size}, mean power", f"{mild_power:.3f}", ">= 0.6", mild_power >= 0.6)
    yield Row(f"severity 1 in {long_size}, mean power", f"{long_power:.3f}", ">= 0.9", long_power >= 0.9)
    better = mild_power - softmax
    yield Row("the same over softmax only", f"{softmax:.3f}, {100 * better:.0f} points better", ">= 25", better >= 0.25)


def _mixtures(images: Images, drawn: Sequence[Draw], contract: Contract, windows: int) -> Iterator[Row]:
    population, strangers = images.population, images.strangers
    size, level = contract.drift.window_size * WINDOWS_IN_LONG, contract.drift.long_level
    removed = [
        measures.power(drawn, measures.without(population, images.targets, label, size), level, windows)
        for label in range(len(contract.labels))
    ]
    text, mean = f"{np.mean(removed):.3f} / {min(removed):.3f}", float(np.mean(removed))
    yield Row(f"one class removed, in {size}, mean / least", text, ">= 0.95", mean >= 0.95)
    for share, least in ((0.1, None), (0.2, 0.8)):
        if len(strangers) >= share * size:
            seen = measures.power(drawn, measures.contaminated(population, strangers, share, size), level, windows)
            target = "reported" if least is None else f">= {least}"
            yield Row(
                f"{share:.0%} strangers, in {size}", f"{seen:.3f}", target, None if least is None else seen >= least
            )


def _sequential(images: Images, drawn: Sequence[Draw], contract: Contract) -> Iterator[Row]:
    """The e-process beside the two horizons, at the same budget, on the same kinds of drift."""
    population, policy = images.population, contract.drift
    size = policy.window_size * WINDOWS_IN_LONG
    mild = [measures.of(population.corrupted[name, 1], size) for name in CORRUPTIONS]
    kinds = {"severity 1": mild}
    if images.strangers.size:
        kinds |= {
            f"{share:.0%} strangers": [measures.contaminated(population, images.strangers, share, size)]
            for share in (0.1, 0.2)
        }
    removed = [measures.without(population, images.targets, label, size) for label in range(len(contract.labels))]
    kinds["one class removed"] = removed
    for kind, windows in tqdm(kinds.items(), desc="e-process"):
        horizons, process = (
            np.mean([measures.delay(drawn, window, policy, detector, 3) for window in windows])
            for detector in (two_horizons, e_process)
        )
        yield Row(f"observations to the alarm, two horizons / e-process: {kind}", f"{horizons:.0f} / {process:.0f}")


def _senders(population: Population, contract: Contract) -> Iterator[Row]:
    rows = population.corrupted["jpeg_compression", 1]
    rows = rows[np.random.default_rng(3).permutation(len(rows))]
    needed = [measures.traffic_to_alarm(contract, rows, senders) for senders in (1, 4, 16)]
    is_met = max(needed) <= 1.2 * min(needed) and max(needed) <= len(rows)
    yield Row("observations to the alarm, 1 / 4 / 16 senders", " / ".join(map(str, needed)), "within 20 %", is_met)


def _harm(images: Images, drawn: Sequence[Draw]) -> Iterator[Row]:
    harm = measures.harm(images.population, images.targets, drawn)
    cells = len(images.population.corrupted)
    text = f"AUC {harm.auc:.3f}, mean error {harm.mean_error:.3f}"
    yield Row(f"estimated drop tells harm, {harm.harmful} of {cells} harmful", text, "AUC >= 0.9", harm.auc >= 0.9)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m driftserve_benchmark")
    parser.add_argument("--archive", type=Path, default=Path("build/demo/model"), help="default: %(default)s")
    parser.add_argument("--data", type=Path, required=True, help="folder with val/ and stream/, each <class>/<image>")
    parser.add_argument("--ood", type=Path, help="folder of images that are of no class")
    parser.add_argument("--cache", type=Path, default=Path("build/bench-drift"), help="default: %(default)s")
    parser.add_argument("--draws", type=int, default=20, help="random halves (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=5000, help="calm ones a draw (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=200, help="of 100 calm windows (default: %(default)s)")
    parser.add_argument("--power-windows", type=int, default=10, help="a cell and draw (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes that score images")
    return parser


if __name__ == "__main__":
    sys.exit(main())
