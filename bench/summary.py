#!/usr/bin/env python3
"""Prints the results of a run as a table: bench/summary.py [DIRECTORY]."""

import json
import pathlib
import statistics
import sys


def load_rows(result):
    for kind in ("send", "receive", "delete"):
        call = result["report"][kind]
        if call:
            latency = call["latency_us"]
            broker = result["broker"] or {}
            yield (
                f"{result['name']} ({kind})",
                f"{call['messages_per_second']:,.0f}",
                f"{call['requests_per_second']:,.0f}",
                f"{latency['p50'] / 1000:.2f}",
                f"{latency['p99'] / 1000:.2f}",
                f"{latency['p99_9'] / 1000:.2f}",
                f"{broker.get('cpu_us_per_message', 0):.1f}",
                f"{broker['after']['rss_bytes'] / 2**20:,.0f}" if broker else "",
                f"{broker['after']['anonymous_bytes'] / 2**20:,.0f}" if broker else "",
            )


def ratios(results):
    """Encrypted throughput over plain throughput of the same turn, by size of body."""
    sent = {result["name"]: result["report"]["send"]["messages_per_second"] for result in results if result["name"].startswith(("encrypted-", "plain-"))}
    by_size = {}
    for name, encrypted in sent.items():
        kind, size, turn = name.split("-")
        if kind == "encrypted":
            by_size.setdefault(int(size), []).append(encrypted / sent[f"plain-{size}-{turn}"])
    for size, found in sorted(by_size.items()):
        yield f"bodies of {size:,} bytes: encrypted / plain {statistics.median(found):.3f} (median of {len(found)}; {min(found):.3f} to {max(found):.3f})"


def main():
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "bench/results")
    results = [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]
    if not results:
        sys.exit(f"no results in {directory}")
    machine = results[0]["machine"]
    print(f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, {machine['disk']}")
    commits = {(result["source"]["commit"] or "?")[:12] for result in results}
    print(f"commit {', '.join(sorted(commits))}\n")
    print("| run | msg/s | req/s | p50 ms | p99 ms | p99.9 ms | broker CPU us/msg | RSS MiB | anonymous MiB |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for result in results:
        if result["kind"] == "load":
            for row in load_rows(result):
                print("| " + " | ".join(row) + " |")
    print("", *ratios(results), sep="\n")
    for path in sorted(directory.glob("*.txt")):
        print(f"\n{path.stem}:\n{path.read_text().rstrip()}")
    for result in results:
        report = result.get("report", {})
        if result["kind"] == "idle":
            print(
                f"\n{result['name']}: {report['pollers']} {'connections' if report.get('silent') else 'pollers'}, "
                f"{report['broker_cpu_percent']:.2f} % of a core, "
                f"{report['after']['rss_bytes'] / 2**20:,.0f} MiB resident"
            )
        if result["kind"] == "dwell":
            wait = report["quiet_dwell_us"]
            print(
                f"\n{result['name']}: quiet messages waited {wait['p50'] / 1000:.1f} ms (median), "
                f"{wait['p99'] / 1000:.1f} ms (p99); {report['noisy_received']:,} noisy ones were received"
            )
        if result["kind"] == "fsync-probe":
            print("\n| durable write | bytes | commits/s | p50 us | p99 us |\n|---|--:|--:|--:|--:|")
            for row in result["rows"]:
                kind = f"{row['kind']}, {'direct' if row['direct'] else 'buffered'}"
                commit = row["commit_us"]
                print(f"| {kind} | {row['write_bytes']:,} | {row['commits_per_second']:,.0f} | {commit['p50']} | {commit['p99']} |")


if __name__ == "__main__":
    main()
