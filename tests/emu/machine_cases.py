# SPDX-License-Identifier: BSD-2-Clause
"""Machines that lack something, and what hardware tells the hypervisor: each is said, on the serial line."""
import os
import signal
import socket
import subprocess
import tempfile

from cases import Case, bare_file, bare_vm, expect_end, host
from machine import Failure

IDLE = host(store="none", when_idle="monitor")


class Hmp:
    """QEMU's own monitor, on a socket beside the machine."""

    def __init__(self):
        self.dir = tempfile.TemporaryDirectory(prefix="spillway-hmp-")
        self.path = os.path.join(self.dir.name, "hmp")
        self.words = ("--qemu", f"-chardev socket,id=hmp,path={self.path},server=on,wait=off -mon hmp")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.dir.cleanup()

    def command(self, line):
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(10)
            monitor.connect(self.path)
            self._read_prompt(monitor)
            monitor.sendall((line + "\n").encode())
            self._read_prompt(monitor)  # a monitor that is left before that does not do it

    @staticmethod
    def _read_prompt(monitor):
        said = b""
        while not said.endswith(b"(qemu) "):
            data = monitor.recv(4096)
            if not data:
                raise Failure(f"QEMU's monitor went away, it said {said}")
            said += data


def no_nx(boot):
    """Refused by name, before anything is changed."""
    machine = boot(IDLE, extra=("--qemu", "-cpu max,la57=off,-nx"))
    machine.expect(r"^spillway: this CPU lacks: NX ", 60)
    expect_end(machine, r"^spillway: PANIC: loader", 3)


MCE = "mce 0 2 0xbe00000000000135 0x5 0x12345000 0x8c"  # CPU, bank, status, MCG_STATUS, address, misc
BANK = r"machine check, bank 2: status be00000000000135 address 0000000012345000 misc 000000000000008c"


def machine_check(boot):
    """The panic shows the bank, also when the lock of the console was held, as it is most of the time
    while so much is to be printed.  (One that comes while a guest runs cannot be tried: QEMU looks at the
    guest's CR4, and resets the machine.)"""
    with Hmp() as hmp:
        machine = boot(IDLE, extra=hmp.words)
        machine.expect("^spillway> ")
        machine.send("help\r" * 100)
        machine.wait(0.1)
        hmp.command(MCE)
        machine.expect(BANK, 60)
        expect_end(machine, r"^spillway: PANIC: #MC machine check at ", 3)


def nmi(boot):
    """One that nobody asked for is told, and the machine goes on, with a guest and without."""
    with Hmp() as hmp:
        machine = boot(IDLE + bare_vm("busy", "spin.elf", "32M", cmdline="sti", autostart="no"),
                       (bare_file("spin.elf"),), extra=hmp.words)
        machine.expect("^spillway> ")
        for guest in (False, True):
            if guest:
                machine.command("start busy")
            start = len(machine.text)
            hmp.command("nmi")
            machine.expect(r"hv: 1 NMI that nobody asked for; port 61h says [\da-f]{2}: no source", 30, start)
        machine.command("kill busy")
        machine.send("poweroff\r")
        expect_end(machine)


def killed(boot):
    """An emulator that is killed is said to have been."""
    machine = boot(IDLE)
    machine.expect("^spillway> ")
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(machine.process.pid)], check=True,
                           capture_output=True, text=True)
    os.kill(int(found.stdout.split()[0]), signal.SIGSEGV)
    if machine.finish(60) != 3:
        raise Failure(f"exit status {machine.status}, expected 3")
    with open(os.path.join(machine.dir.name, "stderr"), encoding="latin-1") as errors:
        said = errors.read()
    if "qemu was killed by signal 11 (Segmentation fault)" not in said:
        raise Failure(f"said: {said}")


def many_cpus(boot):
    """Two more than there may be: they are mentioned, and the others work."""
    machine = boot(IDLE + bare_vm("a", "deaf.elf", "32M", autostart="no"), (bare_file("deaf.elf"),), cpus=66)
    machine.expect(r"hv: 64 of 66 CPUs are up", 240)
    machine.expect(r"hv: 2 CPUs are not used and sleep: expected at most 64", 10)
    machine.expect("^spillway> ", 60)
    machine.command("start a")
    machine.expect(r"^a\| deaf: asleep", 120)
    machine.send("poweroff\r")
    expect_end(machine)


CASES = [
    Case("no-nx", no_nx, memory="256M"),
    Case("machine-check", machine_check, memory="256M"),
    Case("nmi", nmi, memory="256M"),
    Case("killed", killed, memory="256M"),
    Case("many-cpus", many_cpus, memory="512M", timeout=500),
]
