#!/usr/bin/env python3
"""What it costs to know a caller and to decide what it may do: bench/callers.py [DIRECTORY].

Runs the benches `decisions` and `signatures` of the crate api and writes callers.json and callers.txt, with the machine and the
commit they were measured on, to DIRECTORY (bench/results). No broker runs; nothing else should.
"""

import datetime
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
GROUPS = ("decision", "signature")


def run_benches():
    for group in GROUPS:
        shutil.rmtree(TARGET / "criterion" / group, ignore_errors=True)
    benches = ["--bench", "decisions", "--bench", "signatures"]
    subprocess.run(["cargo", "bench", "--locked", "--package", "sealq-api", *benches, "--", "--noplot"], cwd=ROOT, check=True)


def measured():
    """One row a benchmark: its name, and what one iteration took."""
    for group in GROUPS:
        for path in sorted((TARGET / "criterion" / group).rglob("new/benchmark.json")):
            estimates = json.loads((path.parent / "estimates.json").read_text())
            median = estimates["median"]
            yield {
                "name": json.loads(path.read_text())["full_id"],
                "median_ns": median["point_estimate"],
                "low_ns": median["confidence_interval"]["lower_bound"],
                "high_ns": median["confidence_interval"]["upper_bound"],
            }


def first(path, label):
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith(label):
            return line.split(":", 1)[1].strip()
    return ""


def machine():
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": first("/proc/cpuinfo", "model name"),
        "disk": None,
        "kernel": platform.release(),
        "memory_bytes": int(first("/proc/meminfo", "MemTotal").removesuffix(" kB")) * 1024,
    }


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def main():
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "bench" / "results")
    run_benches()
    rows = sorted(measured(), key=lambda row: [int(part) if part.isdigit() else part for part in row["name"].split("/")])
    result = {
        "finished_at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "kind": "callers",
        "machine": machine(),
        "name": "callers",
        "rows": rows,
        "source": {"changed": bool(git("status", "--porcelain", "--untracked-files=no")), "commit": git("rev-parse", "HEAD")},
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "callers.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    width = max(len(row["name"]) for row in rows)
    table = "".join(f"{row['name']:<{width}} {row['median_ns']:>10,.0f} ns\n" for row in rows)
    (directory / "callers.txt").write_text(table)
    print(table, end="")


if __name__ == "__main__":
    main()
