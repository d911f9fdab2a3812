#!/usr/bin/env python3
"""Prints KMS calls beside the formula: bench/key_calls.py METRICS_URL DIRECTORY SECONDS.

DIRECTORY holds the results of the load of each queue, period-D-P-C-send.json and period-D-P-C-receive.json.
"""

import json
import math
import pathlib
import re
import sys
import urllib.request

SERIES = re.compile(r'^sealq_kms_calls_total\{(?P<labels>[^}]*)\} (?P<count>\d+)')
LABEL = re.compile(r'(\w+)="([^"]*)"')


def calls_by_queue(url):
    counts = {}
    for line in urllib.request.urlopen(url).read().decode().splitlines():
        if series := SERIES.match(line):
            labels = dict(LABEL.findall(series["labels"]))
            of_queue = counts.setdefault(labels["queue"], {})
            of_queue[labels["action"]] = of_queue.get(labels["action"], 0) + int(series["count"])
    return counts


def messages(path):
    report = json.loads(path.read_text())["report"]
    return (report["send"] or report["delete"])["messages"]


def main():
    url, directory, seconds = sys.argv[1], pathlib.Path(sys.argv[2]), float(sys.argv[3])
    counts = calls_by_queue(url)
    print(f"KMS calls in {seconds:g} s; a period begins with the first request that finds the last one over")
    print(f"{'D':>5} {'P':>3} {'C':>3} {'sent':>8} {'received':>8} {'periods':>7} {'2P + C':>6} {'expected':>8} {'calls':>6} {'per million sent':>16}")
    for name in sorted(counts, key=lambda name: [int(part) for part in re.findall(r"\d+", name)]):
        period, producers, consumers = (int(part) for part in name.split("-")[1:])
        sent, received = (messages(directory / f"{name}-{kind}.json") for kind in ("send", "receive"))
        periods, each = math.ceil(seconds / period), 2 * producers + consumers
        calls = sum(counts[name].values())
        print(
            f"{period:>5} {producers:>3} {consumers:>3} {sent:>8} {received:>8} {periods:>7} {each:>6} {periods * each:>8} "
            f"{calls:>6} {calls / sent * 1e6:>16,.0f}"
        )


if __name__ == "__main__":
    main()
