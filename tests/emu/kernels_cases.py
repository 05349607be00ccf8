# SPDX-License-Identifier: BSD-2-Clause
"""Debian's kernels of other releases and flavours, which `make kernels` fetches: each boots with two
CPUs, checks memory, and its console interrupts."""
import os
import re

from cases import BUILD, INITRD, Case, expect_end, host
from linux_cases import run_vm
from machine import Failure

FOLDER = os.path.join(BUILD, "guest", "kernels")
KERNELS = ("5.10", "6.1", "6.1-rt", "6.12")
JOB = "memcheck 24M threads=2 && sleep 1 && uname -rv && grep ttyS0 /proc/interrupts"


def files(name, initrd):
    return (f"{FOLDER}/{name}.vmlinuz=\\guest\\{name}", f"{initrd}=\\guest\\{name}.img")


def vm(name):
    return (run_vm(name, JOB, memory="256M", vcpus=2).replace("guest\\vmlinuz", f"guest\\{name}")
            .replace("initrd.img", f"{name}.img"))


def kernels(boot):
    needed = [path for name in KERNELS for path in files(name, INITRD)]
    machine = boot(host(store="auto", pool="700M") + "".join(vm(name) for name in KERNELS), needed, timeout=900)
    expect_end(machine, seconds=900)
    for name in KERNELS:
        for line in (r"memcheck: PASS", name.split("-")[0].replace(".", r"\.") + r"\.\d+", r".*IO-APIC.*ttyS0"):
            if not re.search(rf"^{re.escape(name)}\| {line}", machine.text, re.M):
                raise Failure(f"{name}: expected a line '{line}'")


def pae(boot):
    """A 32-bit kernel is entered by the 32-bit protocol and uses memory behind 4 GiB."""
    config = host(store="auto", pool="700M") + "\n".join((
        "[vm i386]", "kernel = \\guest\\6.1-i386", "initrd = \\guest\\6.1-i386.img", "memory = 5G", "vcpus = 2",
        "cmdline = console=ttyS0 quiet")) + "\n"
    machine = boot(config, files("6.1-i386", os.path.join(FOLDER, "initrd-i386.img")), store="6G", timeout=600)
    expect_end(machine)
    for line in (r"i386: i686, 2 CPUs, 2 with PAE", r"i386: PASS"):
        if not re.search(rf"^i386\| {line}", machine.text, re.M):
            raise Failure(f"expected a line '{line}'")


CASES = [
    Case("kernels", kernels, optional=True, cpus=2, memory="1100M"),
    Case("kernels", kernels, emu="bochs", optional=True, cpus=2, memory="1100M"),
    Case("kernels-i386", pae, optional=True, cpus=2, memory="1100M"),
    Case("kernels-i386", pae, emu="bochs", optional=True, cpus=2, memory="1100M"),
]
