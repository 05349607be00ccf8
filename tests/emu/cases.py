# SPDX-License-Identifier: BSD-2-Clause
"""The whole-machine tests, as data: what boots, what it must say, how it must end."""
import glob
import hashlib
import importlib
import os
import re
import subprocess
import time

from machine import BUILD, Failure, Machine, TOOL, guest_file

VMLINUZ = guest_file("vmlinuz")
INITRD = guest_file("initrd.img")
LAST_OK = r"^spillway: power off: all guests ok$"


def linux_vm(name, memory, memcheck, vcpus=1, seed=1, extra="", **keys):
    """A [vm] section that runs memcheck in Debian's kernel."""
    lines = [f"[vm {name}]", "kernel = \\guest\\vmlinuz", "initrd = \\guest\\initrd.img",
             f"cmdline = console=ttyS0 quiet memcheck={memcheck} seed={seed} {extra}",
             f"memory = {memory}", f"vcpus = {vcpus}"]
    lines += [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def bare_vm(name, guest, memory="32M", **keys):
    lines = [f"[vm {name}]", f"kernel = \\guest\\{guest}", f"memory = {memory}"]
    lines += [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def host(**keys):
    return "[host]\n" + "".join(f"{key.replace('_', '-')} = {value}\n"
                                for key, value in keys.items())


LINUX_FILES = (f"{VMLINUZ}=\\guest\\vmlinuz", f"{INITRD}=\\guest\\initrd.img")


def bare_file(name):
    return f"{guest_file(name)}=\\guest\\{name}"


class Case:
    """One test: boot(s), then checks.  A long one is not in `make test`; an optional one runs only when it
    is named."""

    def __init__(self, name, function, emu="qemu", long=False, optional=False, **machine):
        self.name = f"{name}-{emu}"
        self.emu = emu
        self.function = function
        self.long = long
        self.optional = optional
        self.machine = machine

    def run(self, machines, log):
        """`machines` collects what was booted, for the logs.  Returns figures to print, or None."""
        def boot(config, files=(), **override):
            options = dict(self.machine)
            options.update(override)
            machine = Machine(config, files, emu=self.emu, log=log, **options)
            machines.append(machine)
            return machine

        return self.function(boot)


def expect_end(machine, last=LAST_OK, status=0, seconds=600):
    got = machine.finish(seconds)
    lines = [line for line in machine.text.split("\n") if line.strip()]
    if not lines or not re.search(last, lines[-1]):
        raise Failure(f"last line is '{lines[-1] if lines else ''}', expected /{last}/")
    if got != status:
        raise Failure(f"exit status {got}, expected {status}")


def watch(machine, vms, seconds, take=lambda sample: None):
    """Samples the figures every second until every VM has said PASS; the last sample."""
    last = None
    end = time.monotonic() + seconds
    passed = set()
    while len(passed) < len(vms):
        if time.monotonic() > end:
            raise Failure(f"only {sorted(passed)} passed within {seconds} s")
        fail = re.search(rf"memcheck: FAIL.*|spillway: PANIC.*|vm ({'|'.join(vms)}): failed: .*",
                         machine.text)
        if fail:
            raise Failure(fail.group(0))
        if machine.socket is None:
            raise Failure("the machine ended early")
        last = machine.stats()
        take(last)
        machine.wait(1.0)
        passed = {name for name in vms
                  if re.search(rf"^{name}\| .*memcheck: PASS", machine.text, re.M)}
    return last


def figures_of(machine, name):
    return next(vm for vm in machine.stats()["vms"] if vm["name"] == name)


# ---- small ones ----

def console(boot):
    machine = boot(host(store="none", when_idle="monitor") +
                   linux_vm("alpha", "128M", "16M", autostart="no"), LINUX_FILES)
    machine.expect("^spillway> ")
    for word in ("vms", "stats", "console", "poweroff"):
        if word not in machine.command("help"):
            raise Failure(f"help does not list {word}")
    if "stopped" not in machine.command("vms"):
        raise Failure("vms does not show alpha as stopped")
    checks = (("frobnicate", "expected one of those that 'help' lists"),
              ("start", "expected start NAME"), ("start nobody", "expected one of alpha"),
              ("pause alpha", "expected a VM that is running"),
              ("set alpha min", "'min': expected KEY=VALUE"),
              ("set alpha min=1Q", "min = 1Q: expected a size"), ("log loud", "expected error, warn"))
    for command, expected in checks:
        answer = machine.command(command)
        if expected not in answer:
            raise Failure(f"'{command}' answered '{answer}', expected '{expected}'")
    machine.stats()
    machine.send("start alphx\x7fa\r")
    machine.expect(r"vm alpha: started", 30)
    machine.command("pause alpha")
    if "paused" not in machine.command("vms"):
        raise Failure("vms does not show alpha as paused")
    time.sleep(0.5)
    machine.command("resume alpha")
    machine.send("console alpha\r")
    machine.expect(r"Ctrl-\] detaches", 10)
    machine.expect(r"memcheck: PASS", 120)
    machine.send("\x1d")
    machine.expect("vm alpha: ended well", 60)
    machine.send("poweroff\r")
    expect_end(machine)


def one_guest(boot):
    machine = boot(host(store="auto") + linux_vm("alpha", "128M", "48M"), LINUX_FILES)
    machine.expect(r"^alpha\| .*memcheck: PASS", 240)
    expect_end(machine)


def refused(boot):
    machine = boot(host(pool="64M", store="auto") +
                   linux_vm("big", "512M", "16M") + bare_vm("small", "bench.elf", "64M"),
                   LINUX_FILES + (bare_file("bench.elf"),), store="128M")
    machine.expect(r"vm big: not started: needs \d+ MiB at the worst, expected at most \d+ MiB: "
                   r"pool \d+ \+ store \d+ - promised \d+ MiB", 120)
    machine.expect(r"^small\| bench: first-touch-scattered \d+", 120)
    expect_end(machine, r"^spillway: power off: 1 guest\(s\) failed$", 1)


def wrong_configuration(boot):
    """Every error is shown, no guest is started, and the machine waits for somebody who reads it."""
    for text, errors in (
            ("[host]\npoool = 1G\nstore = autox\n[vm a]\nmemory = 64M\nkernel = \\nowhere\n",
             (r"2: unknown key 'poool': expected one of pool, .*", r"3: store: expected auto, none, .*, got 'autox'",
              r"6: kernel: expected a file that is on the boot volume, got '\\nowhere'")),
            ("[host]\nstore = none\n[vm a]\nmemory = 010M\nmin = 8M\nmax = 4M\n",
             (r"4: memory: expected a size such as 256M, from 4M to 1T, got '010M'",
              r"3: VM 'a': expected a line 'kernel = PATH' in its section",
              r"5: min: expected at most its max, 4M, got '8M'")),
            ("", (r"1: no VM: expected a section \[vm NAME\], or when-idle = monitor to start without one",)),
            ("[host]\npool = 64G\nwhen-idle = monitor\n", (r"2: pool: expected at most \d+M, which is what this "
                                                          r"machine has, got '65536M'",)),
            ("[host]\nstore = nvme7\nwhen-idle = monitor\n", (r"2: store: expected one of .*, got 'nvme7'",))):
        machine = boot(text)
        for error in errors:
            machine.expect(rf"^spillway: configuration: spillway.conf:{error}$", 60)
        count = len(errors)
        expect_end(machine, rf"^spillway: configuration: {count} error{'s' if count > 1 else ''}, no guest is "
                   r"started; off in 60 s, or at a key$", 2)
        if len(re.findall("^spillway: configuration: spillway.conf", machine.text, re.M)) != count:
            raise Failure(f"expected {count} errors: {machine.text}")
        if "started," in machine.text:
            raise Failure("a guest was started all the same")


def digest(path):
    with open(path, "rb") as disk:
        return hashlib.sha256(disk.read()).hexdigest()


def foreign_disks(boot):
    """Neither a blank disk nor a foreign one is written, whatever the configuration says."""
    path = os.path.join(BUILD, f"foreign-{os.getpid()}.img")
    text = b"This disk holds somebody's data. " * 2000
    try:
        for name, content, conf, says in (
                ("blank", b"", "auto", "is blank"), ("foreign", text, "auto", "something else"),
                ("foreign", text, "nvme0", "something else"), ("blank", b"", "nvme0", "is blank")):
            with open(path, "wb") as disk:
                disk.write(content)
                disk.truncate(64 << 20)
            before = digest(path)
            keys = {"store": conf, "format": "yes"} if name == "foreign" else {"store": conf}
            machine = boot(host(pool="64M", **keys) + bare_vm("a", "bench.elf", "48M"),
                           (bare_file("bench.elf"),), store=path)
            machine.expect(says, 60)
            if conf == "auto":
                expect_end(machine)
            else:
                expect_end(machine, r"^spillway: configuration: 1 error, ", 2)
            if digest(path) != before:
                raise Failure(f"the {name} disk was written with store = {conf}")
        # format = yes on a blank, named disk is the one case that writes.
        with open(path, "wb") as disk:
            disk.truncate(64 << 20)
        machine = boot(host(pool="64M", store="nvme0", format="yes") +
                       bare_vm("a", "bench.elf", "48M"), (bare_file("bench.elf"),), store=path)
        machine.expect(r"store nvme0: \d+ MiB in \d+ slots", 60)
        expect_end(machine)
        refused_again = subprocess.run([TOOL, "mkstore", path], check=False, capture_output=True)
        if refused_again.returncode == 0:
            raise Failure("mkstore overwrote a disk that is not blank")
    finally:
        os.unlink(path)


def cpu(boot):
    """What a guest may expect of its CPU, checked from inside."""
    machine = boot(host(store="none") + bare_vm("cpu", "cpu.elf", "64M", vcpus=2), (bare_file("cpu.elf"),))
    machine.expect(r"^cpu\| cpu: PASS", 120)
    expect_end(machine)


# The kernel finds no init, panics and resets itself; on Bochs that takes it longer than is soon.
REBOOTS = """[vm linux]
kernel = \\guest\\vmlinuz
initrd = \\guest\\initrd.img
cmdline = console=ttyS0 quiet rdinit=/nowhere panic=-1 reboot=t
memory = 128M
"""


def triple_faults(linux):
    """A triple fault is a reset, as on a PC; three in a row, soon after each start, are too many."""
    vms = {"triple": 2, "once": 0, **({"linux": 2} if linux else {})}

    def run(boot):
        machine = boot(host(store="none") + bare_vm("triple", "triple.elf") +
                       bare_vm("once", "triple.elf", **{"on-triple-fault": "fail"}) +
                       (REBOOTS if linux else ""), LINUX_FILES + (bare_file("triple.elf"),))
        expect_end(machine, rf"^spillway: power off: {len(vms)} guest\(s\) failed$", 1, 200)
        for name, resets in vms.items():
            seen = len(re.findall(rf"vm {name}: triple fault on vCPU 0 at RIP 0x\w+: it is reset",
                                  machine.text))
            failed = len(re.findall(rf"vm {name}: failed: triple fault on vCPU 0", machine.text))
            if (seen, failed) != (resets, 1):
                raise Failure(f"{name} was reset {seen} times and failed {failed} times")

    return run


def bad_guests(boot):
    """One triple-faults, one runs wild, the third does not notice."""
    machine = boot(host(pool="256M", store="auto", when_idle="poweroff") +
                   bare_vm("triple", "triple.elf") + bare_vm("wild", "wild.elf") +
                   linux_vm("good", "128M", "48M"),
                   LINUX_FILES + (bare_file("triple.elf"), bare_file("wild.elf")))
    machine.expect(r"vm triple: failed: triple fault on vCPU 0", 120)
    answers = machine.expect(r"^wild\| wild: (\d+) of 25104 MSR numbers answer", 240)
    if not 50 < int(answers.group(1)) < 600:
        raise Failure(f"{answers.group(0)}: expected those that a PC's CPU has")
    machine.expect(r"^wild\| wild: PASS", 240)
    machine.expect(r"^good\| .*memcheck: PASS", 240)
    expect_end(machine, r"^spillway: power off: 1 guest\(s\) failed$", 1)


def boot_protocols(boot):
    """The bare-metal guests check what they are handed by multiboot and by PVH."""
    module = os.path.join(BUILD, f"module-{os.getpid()}")
    with open(module, "w", encoding="ascii") as out:
        out.write("module of the boot test\0")
    try:
        config = host(store="none")
        for name in ("multiboot", "pvh"):
            config += bare_vm(name, f"{name}.elf", initrd="\\guest\\module",
                              cmdline="one two=three")
            config += "module = \\guest\\module  first second=2\nmodule = /guest/module\n"
        machine = boot(config, (bare_file("multiboot.elf"), bare_file("pvh.elf"),
                                f"{module}=\\guest\\module"))
        for name in ("multiboot", "pvh"):
            machine.expect(rf"^{name}\| boot: PASS", 120)
        expect_end(machine)
    finally:
        os.unlink(module)


# ---- trouble with the store ----

def store_full(boot):
    """As much as admission lets in, and one VM more: that one is refused, the others lose nothing."""
    names = ("vm0", "vm1")
    config = host(pool="110M", store="auto", when_idle="monitor")
    for i, name in enumerate(names):
        config += linux_vm(name, "128M", "58M", seed=i + 1, extra="passes=2")
    config += bare_vm("more", "bench.elf", "32M")
    machine = boot(config, LINUX_FILES + (bare_file("bench.elf"),), timeout=400, store="152M")
    machine.expect(r"vm more: not started: needs \d+ MiB", 60)
    machine.expect("^spillway> ")
    watch(machine, names, 300)
    machine.send("poweroff\r")
    expect_end(machine, r"^spillway: power off: 1 guest\(s\) failed$", 1)


# ---- the operator, under load ----

def operator(boot):
    """pause, resume, reset and kill while three guests are being paged."""
    names = ("vm0", "vm1", "vm2")
    config = host(pool="192M", store="auto", when_idle="monitor")
    for i, name in enumerate(names):
        config += linux_vm(name, "128M", "54M", seed=i + 1, extra="passes=20")
    machine = boot(config, LINUX_FILES, timeout=400)
    for name in names:
        machine.expect(rf"^{name}\| .*memcheck: \d+ pages", 200)
    machine.command("pause vm0")
    machine.wait(0.5)
    before = figures_of(machine, "vm0")
    machine.command("reset vm1")
    machine.command("kill vm2")
    machine.expect("vm vm2: stopped by the operator", 60)
    machine.expect("vm vm1: reset", 60)
    machine.command("start vm2")
    for _ in range(3):
        machine.wait(1.0)
        machine.stats()
    after = figures_of(machine, "vm0")
    if after["state"] != "paused" or after["exits"] != before["exits"]:
        raise Failure(f"vm0 ran while it was paused: {before} {after}")
    machine.command("resume vm0")
    restarted = machine.text.rindex("vm vm2: started") if "vm vm2: started" in machine.text else 0
    watch(machine, names, 300)
    for name in ("vm1", "vm2"):
        if len(re.findall(rf"vm {name}: started", machine.text)) != 2:
            raise Failure(f"{name} was not started twice")
    machine.expect(r"^vm2\| .*memcheck: PASS", 1, restarted)
    machine.send("poweroff\r")
    expect_end(machine)


def tmem(pool):
    """The bare-metal guest checks every rule of tmem; with a small pool its pages go to the store."""

    def run(boot):
        machine = boot(host(pool=pool, store="auto", when_idle="monitor") +
                       bare_vm("a", "tmem.elf", "32M", tmem="32M") +
                       bare_vm("b", "tmem.elf", "32M", tmem="32M"), (bare_file("tmem.elf"),))
        machine.expect("^spillway> ")
        for name in ("a", "b"):
            machine.expect(rf"^{name}\| tmem: (PASS|FAIL.*)", 300)
        for name in ("a", "b"):
            machine.expect(rf"vm {name}: ended well", 30)
        if "quota 8192 pages, persistent 0" not in machine.command("tmem"):
            raise Failure("the tmem command does not show what is left")
        last = machine.stats()
        if pool == "24M" and last["store"]["read_pages"] == 0:
            raise Failure("no page went to the store")
        if last["host"]["frames_tmem"] != 0 or last["store"]["slots_used"] != 0:
            raise Failure("tmem frames or slots leaked")
        if any(vm["tmem_hits"] == 0 or vm["tmem_misses"] == 0 for vm in last["vms"]):
            raise Failure("hits and misses were not counted")
        machine.send("poweroff\r")
        expect_end(machine)

    return run


CASES = [
    Case("console", console, memory="512M"),
    Case("wrong-configuration", wrong_configuration, memory="256M"),
    Case("refused", refused, memory="512M"),
    Case("one-guest-nvme", one_guest, memory="512M", disk="nvme"),
    Case("one-guest-virtio", one_guest, memory="512M", disk="virtio"),
    Case("one-guest-ata", one_guest, memory="512M", disk="ata"),
    Case("foreign-disks", foreign_disks, memory="256M"),
    Case("triple-faults", triple_faults(linux=True), memory="512M"),
    Case("triple-faults", triple_faults(linux=False), emu="bochs", memory="512M"),
    Case("bad-guests", bad_guests, memory="512M", cpus=2),
    Case("cpu", cpu, memory="256M"),
    Case("tmem", tmem("128M"), memory="512M", cpus=2),
    Case("tmem-stored", tmem("24M"), memory="512M", cpus=2),
    Case("boot-protocols", boot_protocols, memory="256M"),
    Case("store-full", store_full),
    Case("operator", operator, cpus=2),
    Case("console", console, emu="bochs", long=True, memory="512M"),
    Case("wrong-configuration", wrong_configuration, emu="bochs", long=True, memory="256M"),
    Case("cpu", cpu, emu="bochs", memory="256M"),
    Case("boot-protocols", boot_protocols, emu="bochs", memory="256M"),
    Case("bad-guests", bad_guests, emu="bochs", memory="512M"),
    Case("tmem-stored", tmem("24M"), emu="bochs", memory="512M"),
]

# They use what is above.  Those that run longest come first: nothing else is left to run beside them at the end.
CASES = importlib.import_module("overcommit_cases").CASES + CASES
for path in sorted(glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "*_cases.py"))):
    if os.path.basename(path) != "overcommit_cases.py":
        CASES += importlib.import_module(os.path.basename(path)[:-3]).CASES
CASES += importlib.import_module("acceptance").CASES
