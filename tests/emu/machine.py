# SPDX-License-Identifier: BSD-2-Clause
"""One boot of Spillway in an emulator, talked to over its serial console.

A Machine builds an image from a configuration, boots it by tools/spillway run with the serial port
on a socket, and reads it line by line.  Nothing here knows what a test expects.
"""
import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.path.join(ROOT, "tools", "spillway")
BUILD = os.environ.get("BUILD", os.path.join(ROOT, "build"))
PROMPT = "spillway> "
SOMEBODY_ELSES = r"[\w-]+\| |\[\d+\.\d+\] "  # a guest's line, or the log's


class Failure(Exception):
    """What a test expected and did not get."""


class Machine:
    def __init__(self, config, files=(), emu="qemu", cpus=1, memory="768M", disk="nvme",
                 store="1G", timeout=300, extra=(), log=os.devnull, loader=None):
        self.dir = tempfile.TemporaryDirectory(prefix="spillway-test-")
        self.text = ""          # everything that came, CR removed
        self.log = open(log, "a", encoding="latin-1", buffering=1)  # the same, as it comes
        self.deadline = time.monotonic() + timeout
        self.status = None
        self.errors = ""        # what tools/spillway said, when it was stopped
        self.socket = None
        image = os.path.join(self.dir.name, "boot.img")
        conf = os.path.join(self.dir.name, "spillway.conf")
        with open(conf, "w", encoding="ascii") as out:
            out.write(config)
        build = [sys.executable, TOOL, "image", "--config", conf, "-o", image]
        for name in files:
            build += ["--file", name]
        if loader is not None:
            build += ["--loader", loader]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        path = os.path.join(self.dir.name, "serial")
        command = [sys.executable, TOOL, "run", "--image", image, "--emu", emu, "--cpus", str(cpus),
                   "--memory", memory, "--disk", disk, "--store", str(store), "--serial",
                   "unix:" + path, "--timeout", str(timeout), *extra]
        with open(os.path.join(self.dir.name, "stderr"), "wb") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.DEVNULL, stderr=err)
        self._connect(path)

    def _connect(self, path):
        while time.monotonic() < self.deadline and self.process.poll() is None:
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(path)
                return
            except OSError:
                self.socket.close()
                time.sleep(0.05)
        self.socket = None

    # ---- reading ----

    def pump(self, seconds):
        """Takes what comes within so many seconds; returns False at the end of the line."""
        if self.socket is None:
            return False
        ready, _, _ = select.select([self.socket], [], [], seconds)
        if not ready:
            return True
        data = self.socket.recv(65536)
        if not data:
            self.socket.close()
            self.socket = None
            return False
        text = data.decode("latin-1").replace("\r", "")
        self.text += text
        self.log.write(text)
        return True

    def wait(self, seconds):
        """Reads for so many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.pump(max(0, end - time.monotonic())):
            pass

    def expect(self, pattern, seconds=120, start=0):
        """The match of the pattern in what came from `start` on; waits for it."""
        end = min(time.monotonic() + seconds, self.deadline)
        while True:
            match = re.compile(pattern, re.MULTILINE).search(self.text, start)
            if match:
                return match
            left = end - time.monotonic()
            if left <= 0:
                raise Failure(f"expected /{pattern}/ within {seconds} s")
            if not self.pump(min(left, 0.5)):
                match = re.compile(pattern, re.MULTILINE).search(self.text, start)
                if match:
                    return match
                raise Failure(f"expected /{pattern}/, but the machine ended")

    def send(self, text):
        self.socket.sendall(text.encode("latin-1"))

    def command(self, line, seconds=60):
        """Types a monitor command; what it printed before the next prompt."""
        start = len(self.text)
        self.send(line + "\r")
        while True:
            echo = self.expect(re.escape(line) + r"\n", seconds, start)
            prompt = self.expect("^" + re.escape(PROMPT), seconds, echo.end())
            answer = self.text[echo.end():prompt.start()]
            # A line of somebody else's that came before the return key breaks the prompt: it is shown once more.
            if re.match(SOMEBODY_ELSES, answer):
                self.wait(0.3)
                if self.text.startswith(line, prompt.end()):
                    start = prompt.end()
                    continue
            return answer

    def stats(self):
        """stats json as a dictionary, the sum rules checked."""
        for attempt in range(3):
            start = len(self.text)
            self.send("stats json\r")
            match = self.expect(r'^(\{"host".*\})\n', 60, start)
            try:
                figures = json.loads(match.group(1))
                break
            except ValueError:
                if attempt == 2:
                    raise
        check_sums(figures)
        return figures

    def finish(self, seconds=300):
        """Waits for the end; the exit status of tools/spillway run."""
        end = min(time.monotonic() + seconds, self.deadline + 5)
        while self.pump(0.5) and time.monotonic() < end:
            pass
        try:
            self.status = self.process.wait(max(1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failure("the machine did not end") from None
        return self.status

    def stop(self):
        """Ends the emulator whatever state it is in."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.socket is not None:
            self.socket.close()
        self.log.close()
        with open(os.path.join(self.dir.name, "stderr"), encoding="latin-1") as err:
            self.errors = err.read()
        self.dir.cleanup()


PLACES = ("resident", "hole", "pattern", "compressed", "stored", "disk", "transit")
USES = ("frames_free", "frames_guest", "frames_compressed", "frames_tmem", "frames_meta")


def check_sums(figures):
    """The rules of the interface: every page is in one place, every frame has one use."""
    for vm in figures["vms"]:
        total = sum(vm[place] for place in PLACES)
        if total != vm["memory"]:
            raise Failure(f"VM {vm['name']}: pages add up to {total}, expected {vm['memory']}: {vm}")
    host = figures["host"]
    total = sum(host[use] for use in USES)
    if total != host["frames"]:
        raise Failure(f"host frames add up to {total}, expected {host['frames']}: {host}")


def guest_file(name):
    return os.path.join(BUILD, "guest", name)
