#!/usr/bin/env python3
"""Watches what a log takes on disk and what of it is alive: bench/watch_space.py METRICS_URL LOG_DIRECTORY [MIB].

Until it gets SIGTERM; then it prints one line. With MIB, the part of that line is how long it took from the first look until less
than MIB were alive and the disk held at most twice what was alive and two segments of 64 MiB. One process that looks once a second:
more would take a core away from what is measured.
"""

import pathlib
import signal
import sys
import time
import urllib.request

PERIOD_SECONDS = 1
SPARE_BYTES = 128 << 20


def live_bytes(url):
    lines = urllib.request.urlopen(url).read().decode().splitlines()
    return sum(int(float(line.rsplit(" ", 1)[1])) for line in lines if line.startswith("sealq_log_live_bytes{"))


def disk_bytes(directory):
    total = 0
    for path in directory.iterdir():
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


def main():
    url, directory = sys.argv[1], pathlib.Path(sys.argv[2])
    below = int(sys.argv[3]) << 20 if len(sys.argv) > 3 else None
    begun, most_alive, most_on_disk, took = time.monotonic(), 0, 0, None
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    while not stopped:
        alive, on_disk = live_bytes(url), disk_bytes(directory)
        most_alive, most_on_disk = max(most_alive, alive), max(most_on_disk, on_disk)
        if below and took is None and alive < below and on_disk <= 2 * alive + SPARE_BYTES:
            took = time.monotonic() - begun
        time.sleep(PERIOD_SECONDS)
    line = f"at most {most_alive >> 20} MiB alive, at most {most_on_disk >> 20} MiB on disk"
    line += f"; in the end {alive >> 20} MiB alive, {on_disk >> 20} MiB on disk"
    if below:
        line += "; not within twice what is alive" if took is None else f"; within twice what is alive after {took:.1f} s"
    print(line)


if __name__ == "__main__":
    main()
