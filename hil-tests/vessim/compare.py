#!/usr/bin/env python3
"""The core beside Vessim: one app, one battery, one grid connection, the same trace, every level and every total.

    hil-tests/vessim/compare.py                    a year at one minute
    hil-tests/vessim/compare.py --ticks 20000      less of it
    hil-tests/vessim/compare.py --json FILE        the figures of the table as JSON

Vessim 0.16 comes from the package index into an environment of its own, target/vessim-venv. Where the index is out of
reach there is nothing to compare with: `skipped: because ...`, and exit code 0.

Both go through whole watts and whole g/kWh with a lossless battery, so every figure is a whole number of watt minutes. The
core's figures are exact. Vessim's are floats: each is rounded to whole watt minutes, and no figure may have been further from
one than a hundredth. Exit code 1 where a level or a total differs, or where the core is less than --at-least times as fast.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
VENV = TARGET / "vessim-venv"
WANTED = "vessim==0.16.*"
YEAR = 365 * 24 * 60
CAPACITY_WH = 1000
LIMIT_W = 500
MICROJOULES = 60_000_000  # in a watt minute
FAR = 0.01  # watt minutes that a sum of floats may have strayed


def main():
    args = arguments()
    if args.vessim:
        return vessim(args.vessim)
    why = install()
    if why:
        print(f"skipped: because {WANTED} cannot be installed: {why}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.csv"
        trace.write_text("".join(f"{s},{l},{g}\n" for s, l, g in minutes(args.ticks)))
        ours = core(trace, Path(folder) / "levels")
        theirs = run([str(VENV / "bin/python"), __file__, "--vessim", str(trace)])
        levels = [int(line) for line in (Path(folder) / "levels").read_text().split()]
    return report(ours, levels, theirs, args)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=YEAR, help="minutes of the trace")
    parser.add_argument("--at-least", type=float, default=100, help="times as fast as Vessim (0: whatever it is)")
    parser.add_argument("--json", help="a file for the figures")
    parser.add_argument("--vessim", help=argparse.SUPPRESS)
    return parser.parse_args()


def install():
    """Makes the environment with Vessim where it is missing; says why where that is not possible."""
    stamp = VENV / ".complete"
    if stamp.exists() and stamp.read_text() == WANTED:
        return None
    for command in (
        [sys.executable, "-m", "venv", str(VENV)],
        [str(VENV / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", WANTED],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            return (done.stderr.strip().splitlines() or ["it ends without a word"])[-1]
    stamp.write_text(WANTED)
    return None


def minutes(count):
    """Solar, load and intensity of each minute: days and clouds, bursts of load, a grid that is cleaner by night; whole
    numbers from a generator of a few lines, so that every machine makes the same."""
    state = 1
    for minute in range(count):
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        noise = state >> 33
        of_day = minute % 1440
        height = max(0, 360 - abs(of_day - 720))
        solar = height * 2 * (20 + noise % 81) // 100
        load = 60 + (noise >> 8) % 90 + (400 if (noise >> 16) % 11 == 0 else 0)
        intensity = 200 + abs(of_day - 720) // 4 + (noise >> 20) % 50
        yield solar, load, intensity


def run(command):
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ends with {done.returncode}")
    return json.loads(done.stdout)


def core(trace, levels):
    """The fastest of three runs: what else runs here slows all of them."""
    build = ["cargo", "build", "--quiet", "--release", "-p", "ecovisor-core", "--example", "trace"]
    subprocess.run(build, cwd=ROOT, check=True)
    binary = TARGET / "release/examples/trace"
    command = [str(binary), str(trace), str(levels), str(CAPACITY_WH), str(LIMIT_W)]
    runs = [run(command) for _ in range(3)]
    return min(runs, key=lambda one: one["seconds"])


def vessim(path):
    """Runs in the environment that has it: once for its time, with nothing that watches, and once to be compared."""
    import pandas

    import vessim as vs

    rows = [tuple(map(int, line.split(","))) for line in Path(path).read_text().split()]
    index = pandas.date_range("2022-01-01", periods=len(rows), freq="min")
    frame = pandas.DataFrame(rows, columns=["solar", "load", "intensity"], index=index)

    def environment(watch):
        site = vs.Environment(sim_start="2022-01-01", step_size=60)
        battery = vs.SimpleBattery("battery", CAPACITY_WH, initial_soc=0, c_rate=LIMIT_W / CAPACITY_WH)
        trace = vs.Trace(frame, anchor="2022-01-01")
        actors = [
            vs.Producer("solar", trace.select("solar")),
            vs.Consumer("load", trace.select("load")),
        ]
        signals = {"intensity": trace.select("intensity")}
        site.add_microgrid(actors, [battery, vs.GridConnection()], grid_signals=signals, name="site")
        if watch:
            site.add_controller(watch)
        return site, battery

    class Watch(vs.Controller):
        """Sums what each tick is given to do, and notes the level that the tick before has led to."""

        def __init__(self):
            self.levels = []
            self.totals = dict.fromkeys(["load", "solar", "import", "export", "charged", "discharged", "carbon"], 0.0)

        def step(self, now, states):
            state, totals = states["site"], self.totals
            battery, grid = state["dispatch_states"]["battery"], state["p_grid"]
            power = battery["current_power"]
            self.levels.append(battery["charge_level"] * 60)
            totals["load"] -= state["actor_states"]["load"]["power"]
            totals["solar"] += state["actor_states"]["solar"]["power"]
            totals["import"] += max(0, -grid)
            totals["export"] += max(0, grid)
            totals["charged"] += max(0, power)
            totals["discharged"] += max(0, -power)
            totals["carbon"] += max(0, -grid) * state["grid_signals"]["intensity"]

    until = 60 * len(rows)
    bare, _ = environment(None)
    began = time.perf_counter()
    bare.run(until=until)
    seconds = time.perf_counter() - began
    watch = Watch()
    watched, battery = environment(watch)
    watched.run(until=until)
    levels = watch.levels[1:] + [battery.charge_level * 60]
    print(json.dumps({"seconds": seconds, "levels": levels, **watch.totals}))
    return 0


def report(ours, levels, theirs, args):
    """The table, and whether all is as it must be."""
    strayed = max(abs(level - round(level)) for level in theirs["levels"])
    differ = [i for i, (one, other) in enumerate(zip(levels, theirs["levels"])) if one != round(other) * MICROJOULES]
    ratio = theirs["seconds"] / ours["seconds"]
    ticks = ours["ticks"]
    print(f"{ticks} ticks of a minute, one app, {CAPACITY_WH} Wh lossless, {LIMIT_W} W each way\n")
    print(f"{'':22}{'core':>18}{'Vessim':>18}   equal")
    print(f"{'seconds':22}{ours['seconds']:>18.3f}{theirs['seconds']:>18.3f}   {ratio:.0f} times as fast")
    print(f"{'µs a tick':22}{per_tick(ours, ticks):>18.3f}{per_tick(theirs, ticks):>18.3f}")
    wrong = [] if len(levels) == len(theirs["levels"]) == ticks and not differ else ["levels"]
    for name in ("load", "solar", "import", "export", "charged", "discharged"):
        exact, rounded = int(ours[f"{name}_uj"]), round(theirs[name])
        strayed = max(strayed, abs(theirs[name] - rounded))
        wrong += line(f"{name}, W min", exact / MICROJOULES, rounded, exact == rounded * MICROJOULES, name)
    carbon, rounded = int(ours["carbon_uj_mg_per_kwh"]), round(theirs["carbon"])
    strayed = max(strayed, abs(theirs["carbon"] - rounded))
    wrong += line("carbon, W min g/kWh", carbon / MICROJOULES / 1000, rounded, carbon == rounded * MICROJOULES * 1000, "carbon")
    said = "all of them" if "levels" not in wrong else f"not after tick {differ[0] if differ else ticks}"
    print(f"{'levels':22}{len(levels):>18}{len(theirs['levels']):>18}   {said}")
    print(f"\nVessim's floats strayed by {strayed:.2g} W min at most from the whole numbers that they stand for.")
    if strayed > FAR:
        wrong.append("rounding")
    if ratio < args.at_least:
        print(f"FAILED: {ratio:.0f} times as fast is less than {args.at_least:g}")
    if wrong:
        print(f"FAILED: these differ: {', '.join(wrong)}")
    if args.json:
        figures = {"core_step_ns": per_tick(ours, ticks) * 1000, "vessim_step_ns": per_tick(theirs, ticks) * 1000}
        Path(args.json).write_text(json.dumps({**figures, "times_as_fast": ratio, "differ": wrong}) + "\n")
    return 1 if wrong or ratio < args.at_least else 0


def line(name, ours, theirs, equal, short):
    print(f"{name:22}{ours:>18.0f}{theirs:>18}   {'yes' if equal else 'NO'}")
    return [] if equal else [short]


def per_tick(run, ticks):
    return run["seconds"] / ticks * 1e6


if __name__ == "__main__":
    sys.exit(main())
