"""The wall clock of one broker, moved by a library that is loaded before libc (Debian's libfaketime)."""

import glob

LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"
# Signatures of clients that live in the present have to pass.
SETTINGS = "[auth]\nclock_skew_seconds = 86400\n"


class Clock:
    """`seconds` ahead of the system's; the monotonic clock is left alone."""

    def __init__(self, directory):
        found = glob.glob(LIBRARIES)
        assert found, "Debian's package libfaketime is not installed"
        self.file = directory / "clock"
        self.seconds = 0
        self.advance(0)
        self.environment = {
            "LD_PRELOAD": found[0],
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def advance(self, seconds):
        self.seconds += seconds
        temporary = self.file.with_suffix(".new")
        temporary.write_text(f"+{self.seconds}s\n")
        temporary.rename(self.file)
