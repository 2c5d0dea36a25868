"""Writes random ticks in chains with the model's answers, one JSON line each, for `core` to be compared with.

    nice -n 10 python3 emit.py [ticks] [seed]

Figures beyond 64 bits are written as strings, since JSON readers would make floats of them.
"""

import json
import random
import sys
from collections import Counter

from selftest import chains


def readable(value):
    if isinstance(value, dict):
        return {name: readable(part) for name, part in value.items()}
    if isinstance(value, list):
        return [readable(part) for part in value]
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2**64:
        return str(value)
    return value


def main():
    ticks = int(sys.argv[1]) if len(sys.argv) > 1 else 3_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for tick in chains(random.Random(seed), ticks, Counter()):
        state, flows, books = tick["answer"]
        line = {name: tick[name] for name in ("site", "state", "inputs")}
        line["books"] = {"state": state, "apps": flows, "site": books}
        print(json.dumps(readable(line)))


if __name__ == "__main__":
    main()
