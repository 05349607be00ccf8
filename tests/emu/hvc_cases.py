# SPDX-License-Identifier: BSD-2-Clause
"""A guest's virtio-console: Debian's kernel with console=hvc0, beside its ttyS0."""
import hashlib

from cases import VMLINUZ, Case, expect_end, host
from console_cases import PASTE, attach
from linux_cases import ASLEEP, expect_still_asleep
from machine import Failure, guest_file

FILES = (f"{VMLINUZ}=\\guest\\vmlinuz", f"{guest_file('initrd-virtio.img')}=\\guest\\initrd.img")
MODULES = ",".join(f"/lib/virtio{name}.ko" for name in
                   ("_ring", "", "_pci_legacy_dev", "_pci_modern_dev", "_pci", "_console"))
# In this order: with its last user its settings go, too.
ON_HVC0 = "exec < /dev/hvc0 > /dev/hvc0 2>&1; stty raw -echo; "
NUMBERS = 20000


def vm(name, command):
    return (f"[vm {name}]\nkernel = \\guest\\vmlinuz\ninitrd = \\guest\\initrd.img\nmemory = 96M\n"
            f'cmdline = "console=ttyS0 console=hvc0 quiet modules={MODULES} '
            f'run=\\"{ON_HVC0}{command}\\""\n')


def both_ways(boot):
    """64 KiB into hvc0 and all numbers out of it, byte for byte; a BREAK, and its key, is for ttyS0."""
    job = (f"echo hvc0 reads; head -c {PASTE} | md5sum; head -c 1 > /dev/null; seq {NUMBERS}; "
           "head -c 1 > /dev/null; echo hvc0 ends")
    machine = boot(host(store="none", when_idle="monitor") + vm("guest", job), FILES)
    machine.expect(r"^guest\| init: ", 300)  # on ttyS0: there was no driver yet
    machine.expect(r"^guest\| hvc0 reads", 60)
    attach(machine, "guest")
    text = "".join(chr(ord("!") + (7 * i + i // 90) % 90) for i in range(PASTE))
    machine.send(text)
    machine.expect(hashlib.md5(text.encode()).hexdigest(), 200)
    machine.wait(1.0)
    start = len(machine.text)
    machine.send("g")
    wanted = "".join(f"{n}\n" for n in range(1, NUMBERS + 1))
    machine.expect(rf"^{NUMBERS}\n", 200, start)
    if machine.text[start:start + len(wanted)] != wanted:
        raise Failure("what hvc0 has printed is not what has come")
    start = len(machine.text)
    machine.send("\x1d\x02h")
    machine.expect("sysrq: HELP", 30, start)
    machine.send("e")
    machine.expect(r"hvc0 ends", 30, start)
    machine.expect(r"vm guest: ended well", 60, start)
    machine.send("\x1dpoweroff\r")
    expect_end(machine)


def idle_sleep(boot):
    """s2idle: while hvc0's driver is stopped a key goes to ttyS0, which wakes; afterwards hvc0 is back."""
    job = ("echo enabled > /sys/class/tty/ttyS0/power/wakeup; echo asleep; echo freeze > /sys/power/state; "
           "echo awake by key; head -c 4; echo")
    machine = boot(host(store="none", when_idle="monitor") + vm("sleepy", job), FILES)
    machine.expect(r"^sleepy\| asleep", 300)
    machine.wait(ASLEEP)
    attach(machine, "sleepy")
    expect_still_asleep(machine, "key")
    start = len(machine.text)
    machine.send("\r")
    machine.expect("awake by key", 60, start)
    machine.wait(1.0)
    machine.send("back")
    machine.expect(r"^back", 30, start)
    machine.expect(r"vm sleepy: ended well", 60, start)
    machine.send("\x1dpoweroff\r")
    expect_end(machine)


CASES = [
    Case("hvc", both_ways, memory="384M", timeout=400),
    Case("hvc", both_ways, emu="bochs", long=True, memory="384M", timeout=800),
    Case("hvc-sleep", idle_sleep, memory="384M", timeout=400),
]
