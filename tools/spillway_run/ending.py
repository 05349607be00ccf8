# SPDX-License-Identifier: BSD-2-Clause
"""How a machine ended."""
import re

from spillway_run.common import EXIT_GUEST, EXIT_OK, EXIT_PANIC, EXIT_USAGE

LAST_LINE = re.compile(r"spillway: (power off: all guests ok|power off: \d+ guest\(s\) failed|reboot|PANIC: .*?|"
                       r"configuration: \d+ errors?, .*?)\r?$")


class DebugPort:
    """The machine's words to us by port 0xe9, which no guest reaches: a file that the emulator
    writes.  The serial line is not believed: a guest whose console is attached may print anything."""

    def __init__(self, path):
        self.path = path
        self.at = 0
        self.partial = ""
        self.last = None  # the line that says how it ended

    def look(self):
        """Reads what has come since; true when the last line is there."""
        try:
            with open(self.path, "rb") as port:
                port.seek(self.at)
                data = port.read()
        except FileNotFoundError:
            data = b""
        self.at += len(data)
        *lines, self.partial = (self.partial + data.decode("latin-1")).split("\n")
        for line in lines:
            found = LAST_LINE.search(line)  # behind what Bochs itself has begun to say
            if found:
                self.last = found.group(0)
        return self.last is not None

    def refused(self):
        return self.last is not None and self.last.startswith("spillway: configuration:")

    def rebooted(self):
        return self.last == "spillway: reboot"

    def status(self):
        if self.last is None or "PANIC" in self.last:
            return EXIT_PANIC
        if self.refused():
            return EXIT_USAGE
        return EXIT_GUEST if self.last.endswith("failed") else EXIT_OK
