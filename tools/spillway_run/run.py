# SPDX-License-Identifier: BSD-2-Clause
"""One run: an emulator from its start to the end of the machine."""
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time

from spillway_run.common import EXIT_TIMEOUT, Problem
from spillway_run.emulators import FIRMWARE, bochs_command, prepare_store, qemu_command
from spillway_run.ending import DebugPort
from spillway_run.serial_line import Output

GRACE = 5.0  # seconds that the emulator gets to end after the last line
QUIT = b"\x01x"  # Ctrl-A x on a terminal


class Run:
    """One emulator and its serial line."""

    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.store = prepare_store(options, folder)
        self.debug = None
        self.messages = None
        self.process = None
        self.killed = False  # by us
        self.typed = b""

    def start(self):
        options = self.options
        messages = os.path.join(self.folder, "messages")
        # Bochs' debug port is its standard output.
        debug = os.path.join(self.folder, "debug-port") if options.emu == "qemu" else messages
        if os.path.exists(debug):  # what the boot before has said must not be taken for this one's
            os.unlink(debug)
        self.debug = DebugPort(debug)
        if options.emu == "qemu":
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(os.path.join(self.folder, "emulator"))
        else:
            listener = socket.socket(socket.AF_INET)
            listener.bind(("127.0.0.1", 0))
            options.port = listener.getsockname()[1]
        listener.listen(1)
        make = qemu_command if options.emu == "qemu" else bochs_command
        command = make(options, self.folder, self.store)
        if options.show:
            print(shlex.join(command), file=sys.stderr)
        self.messages = open(messages, "wb+")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.messages,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        line = self._accept(listener)
        listener.close()
        if options.emu == "qemu":
            os.unlink(os.path.join(self.folder, "emulator"))
        return line

    def _accept(self, listener):
        """The emulator connects before its first instruction."""
        while True:
            ready, _, _ = select.select([listener], [], [], 0.1)
            if ready:
                return listener.accept()[0]
            if self.process.poll() is not None:
                raise Problem("the emulator did not start: " + self._messages())

    def _messages(self):
        self.messages.seek(0)
        text = self.messages.read().decode("latin-1").strip()
        return "\n".join(text.splitlines()[-5:])

    def relay(self, output):
        """Until the machine is off: the exit status.  One that reboots goes on."""
        limit = time.monotonic() + self.options.timeout if self.options.timeout else None
        while True:
            line = self.start()
            status = self._relay_boot(line, output, limit)
            line.close()
            if status is not None:
                return status
            self.stop()

    def _relay_boot(self, line, output, limit):
        """The exit status; None: the machine has reset itself, and is to be started again."""
        ended_at = None
        while True:
            now = time.monotonic()
            if limit is not None and now > limit:
                return EXIT_TIMEOUT
            if self.debug.look() and ended_at is None:
                ended_at = now
                if self.debug.refused():  # the machine waits for somebody who has read it
                    self._type(line, b"\r")
            if ended_at is not None and now > ended_at + self._grace():
                return None if self.debug.rebooted() else self.debug.status()
            ready, _, _ = select.select([line, *output.sources()], [], [], 0.2)
            for source in ready:
                if source is not line:
                    if not self._type(line, output.read(source)):
                        return EXIT_TIMEOUT
                    continue
                try:
                    data = line.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    return self._finish()
                output.write(data)

    def _type(self, line, data):
        """False: the user asked for the end on the terminal."""
        if self.options.serial == "-":
            self.typed = (self.typed + data)[-2:]
            if self.typed == QUIT:
                return False
        try:
            line.sendall(data)
        except OSError:
            pass
        return True

    def _grace(self):
        """Seconds that the emulator gets after the last line.  Bochs does not end with a reset, and the
        firmware does not come up again in it: it waits for a PM timer that has lost its address."""
        return 0.5 if self.debug.rebooted() and self.options.emu == "bochs" else GRACE

    def _finish(self):
        """The emulator has closed the line."""
        self.stop(GRACE)
        self.debug.look()
        if self.debug.rebooted():
            return None
        if self.debug.last is None:
            print("spillway run: %s ended without a last line; %s" % (self._how(), self._messages()),
                  file=sys.stderr)
        return self.debug.status()

    def _how(self):
        """`qemu`, and the signal that killed it, if one did."""
        status = self.process.returncode
        if status is not None and status < 0 and not self.killed:
            return "%s was killed by signal %d (%s) and" % (self.options.emu, -status,
                                                           signal.strsignal(-status))
        return self.options.emu

    def remove_locks(self):
        """A killed Bochs leaves FILE.lock beside its disks."""
        for path in [self.options.store, *self.options.guest_disk]:
            if self.options.emu == "bochs" and os.path.exists(path + ".lock"):
                os.unlink(path + ".lock")

    def stop(self, patience=0.0):
        """Ends the emulator, by its own process id."""
        if self.process is None:
            return
        for action, wait in ((None, patience), (signal.SIGTERM, 2.0), (signal.SIGKILL, 10.0)):
            if action is not None and self.process.poll() is None:
                self.killed = True
                os.kill(self.process.pid, action)
            try:
                self.process.wait(wait)
                return
            except subprocess.TimeoutExpired:
                continue


def terminate(_signal, _frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: the way out is under way
    raise KeyboardInterrupt


def run_machine(options):
    for path in [options.image, FIRMWARE, *options.guest_disk]:
        if not os.path.exists(path):
            raise Problem("%s: no such file" % path)
    signal.signal(signal.SIGTERM, terminate)
    with tempfile.TemporaryDirectory(prefix="spillway-") as folder:
        machine, output = Run(options, folder), None
        try:
            output = Output(options.serial)
            return machine.relay(output)
        except KeyboardInterrupt:
            return EXIT_TIMEOUT
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the way out is under way
            machine.stop()
            machine.remove_locks()
            if output is not None:
                output.close()
