# SPDX-License-Identifier: BSD-2-Clause
"""tmem through Linux: the module, swap on it, the cache.  The scripts that the guests run are in
guests/linux/test."""
import re

from cases import LINUX_FILES, Case, expect_end, host
from machine import Failure, guest_file

FILES = (LINUX_FILES[0], f"{guest_file('initrd-tmem.img')}=\\guest\\tmem.img")
# tracefs takes 9 MiB of a guest that has 128.
CMDLINE = "console=ttyS0 quiet initcall_blacklist=tracer_init_tracefs"

SWAP_FILES = (LINUX_FILES[0], f"{guest_file('initrd-swap.img')}=\\guest\\swap.img")
# What a guest of 128 MiB has to do without for a hog of 180 MiB: the network (a BPF program of it
# takes 2 MiB), tracefs, sysfs of the slabs, drivers; and the memory controller's maps (4 MiB).
SWAP_WITHOUT = (
    "tracer_init_tracefs slab_sysfs_init sock_init netlink_proto_init genl_init kobject_uevent_init "
    "inet_init inet6_init af_unix_init packet_init audit_init ethnl_init tcp_congestion_default "
    "cubictcp_register thermal_netlink_init netlbl_init taskstats_init acpi_event_init cn_init "
    "devlink_init init_net_drop_monitor strp_dev_init nvme_core_init nvme_init ksm_init "
    "hung_task_init blk_integrity_auto_init net_dev_init sysctl_core_init selnl_init "
    "sock_diag_init xfrm_user_init nfnetlink_init netlink_diag_init mptcp_init xsk_init "
    "vlan_proto_init nexthop_init sysctl_ipv4_init inet_blackhole_dev_init")
SWAP_CMDLINE = ("console=ttyS0 quiet cgroup.memory=nokmem initcall_blacklist=" +
                SWAP_WITHOUT.replace(" ", ","))


def hog_vm(name, words, vcpus=1, quota="96M"):
    """A [vm] section: 128 MiB, all of it for memcheck, /dev/tmem0 as swap."""
    return (f"[vm {name}]\nkernel = \\guest\\vmlinuz\ninitrd = \\guest\\swap.img\n"
            f"cmdline = {SWAP_CMDLINE} modules=/lib/spillway_tmem.ko swap=/dev/tmem0 {words}\n"
            f"memory = 128M\nvcpus = {vcpus}\ntmem = {quota}\n")


def tmem_vm(name, run, memory="128M", vcpus=1, **keys):
    """A [vm] section that runs a shell command in the initramfs that has the module."""
    lines = [f"[vm {name}]", "kernel = \\guest\\vmlinuz", "initrd = \\guest\\tmem.img",
             f'cmdline = {CMDLINE} run="{run}"', f"memory = {memory}", f"vcpus = {vcpus}"]
    lines += [f"{key} = {value}" for key, value in keys.items()]
    return "\n".join(lines) + "\n"


def expect_nothing_left(figures):
    """No VM has memory any more, so nobody's page may be anywhere."""
    for group, figure in (("store", "slots_used"), ("host", "frames_guest"),
                          ("host", "frames_tmem")):
        if figures[group][figure] != 0:
            raise Failure(f"{figures[group][figure]} {figure} leaked")


def run_to_end(machine, name, passes, seconds, note=lambda figures: None):
    """Until the guest says that it passed and ends; the last figures while it had memory."""
    start, last = 0, None
    while f"vm {name}: ended" not in machine.text and f"vm {name}: failed" not in machine.text:
        last = machine.stats()
        note(last)
        machine.wait(2.0)
        bad = re.search(r".*(FAIL|PANIC|Out of memory|BUG:|blocked for more than).*", machine.text)
        if bad:
            raise Failure(bad.group(0))
        start += 2
        if start > seconds:
            raise Failure(f"{name} did not end within {seconds} s")
    for text in passes:
        machine.expect(rf"^{name}\| .*{text}: PASS", 10)
    machine.expect(rf"vm {name}: ended well", 10)
    return last


def block(boot):
    """The block device, every rule through the ioctls, the cache, loading and unloading."""
    machine = boot(host(pool="320M", store="auto", when_idle="monitor") +
                   tmem_vm("alpha", "tmem-block", tmem="96M"), FILES, timeout=600)
    machine.expect("^spillway> ")
    run_to_end(machine, "alpha", ("tmemtest", "tmemcache", "tmem-block"), 500)
    expect_nothing_left(machine.stats())
    machine.send("poweroff\r")
    expect_end(machine)


def not_allowed(boot):
    """A VM without a quota has ephemeral pools at most, and no tmem0; the module says so."""
    machine = boot(host(store="none") +
                   tmem_vm("alpha", "insmod /lib/spillway_tmem.ko; dmesg | grep spillway_tmem: ;"
                           "[ ! -e /dev/tmem0 ] || false"), FILES)
    machine.expect(r"^alpha\| .*spillway_tmem: (no quota|this Spillway .* offers no tmem)", 120)
    expect_end(machine)


def swap(hog, pool, stored=False, vcpus=1, quota="96M", seconds=600):
    """memcheck in more memory than the guest has, tmem0 being its only swap."""
    def run(boot):
        machine = boot(host(pool=pool, store="auto", when_idle="monitor") +
                       tmem_vm("alpha", f"tmem-swap {hog}", vcpus=vcpus, tmem=quota), FILES,
                       timeout=seconds + 60)
        machine.expect("^spillway> ")
        run_to_end(machine, "alpha", ("memcheck", "tmem-swap"), seconds)
        last = machine.stats()
        if stored and last["store"]["written_pages"] == 0:
            raise Failure("no page ever went to the store")
        expect_nothing_left(machine.stats())
        machine.send("poweroff\r")
        expect_end(machine)

    return run


def hog(words, pool, stored=False, vcpus=1, seconds=900):
    """memcheck in all of a guest's memory and all of its tmem."""
    def run(boot):
        machine = boot(host(pool=pool, store="auto", when_idle="monitor") +
                       hog_vm("alpha", words, vcpus), SWAP_FILES, timeout=seconds + 60)
        machine.expect("^spillway> ")
        most_stored = 0

        def note(figures):
            nonlocal most_stored
            vm = figures["vms"][0]
            most_stored = max(most_stored, vm["tmem_pages_persistent"] - vm["tmem_resident"])

        run_to_end(machine, "alpha", ("memcheck",), seconds, note)
        machine.expect(r"^alpha\| init: pswpin [1-9]\d* pswpout [1-9]", 10)
        if stored and most_stored < 1000:  # a few may be patterns
            raise Failure(f"no more than {most_stored} tmem pages were in the store at a time")
        expect_nothing_left(machine.stats())
        machine.send("poweroff\r")
        expect_end(machine)

    return run


def set_quota(machine, mib):
    """Until it is taken: it is refused while the pools hold more."""
    for _ in range(20):
        machine.command(f"set alpha tmem={mib}M")
        if machine.stats()["vms"][0]["tmem_quota"] == mib * 256:
            return
        machine.wait(0.5)
    raise Failure(f"tmem={mib}M is not taken")


def full(boot):
    """The quota changes while the guest runs, and refuses puts for which there is no backing disk."""
    machine = boot(host(pool="320M", store="auto", when_idle="monitor") +
                   tmem_vm("alpha", "tmem-full"), FILES, timeout=400)
    machine.expect("^spillway> ")
    for asked, quota in (("some", 32), ("half", 16), ("whole", 32)):
        if machine.expect(rf"^alpha\| .*tmem-full: ({asked}, please|FAIL.*)", 120)[1][0] == "F":
            raise Failure("see the guest's line")
        set_quota(machine, quota)
    refused = 0

    def note(figures):
        nonlocal refused
        refused = max(refused, figures["vms"][0]["tmem_refused"])

    run_to_end(machine, "alpha", ("tmem-full",), 300, note)
    if refused < 100:
        raise Failure(f"{refused} puts were refused, expected 100")
    expect_nothing_left(machine.stats())
    machine.send("poweroff\r")
    expect_end(machine)


def full_swap(boot):
    """A guest that swaps goes on when its puts are refused and there is no backing disk."""
    machine = boot(host(pool="320M", store="auto", when_idle="monitor") +
                   tmem_vm("alpha", f"tmem-full-swap {12 * 256}", tmem="96M"), FILES, timeout=400)
    machine.expect("^spillway> ")
    machine.expect(r"^alpha\| .*less, please", 120)
    set_quota(machine, 12)
    run_to_end(machine, "alpha", ("memcheck", "tmem-full-swap"), 300)
    expect_nothing_left(machine.stats())
    machine.send("poweroff\r")
    expect_end(machine)


def kill(boot):
    """Killed in the middle of heavy traffic, twice: frames and slots are what they were."""
    machine = boot(host(pool="144M", store="auto", when_idle="monitor") +
                   tmem_vm("alpha", "tmem-swap 150M passes=100", tmem="96M", vcpus=2,
                           autostart="no"), FILES, timeout=300)
    machine.expect("^spillway> ")
    first = machine.stats()
    for _ in range(2):
        start = len(machine.text)
        machine.command("start alpha")
        machine.expect(r"^alpha\| memcheck: fill", 120, start)
        for _ in range(3):
            machine.wait(1.0)
            figures = machine.stats()["vms"][0]
        if figures["tmem_pages_persistent"] == 0:
            raise Failure("there was no traffic when the guest was killed")
        machine.command("kill alpha")
        machine.expect("vm alpha: stopped by the operator", 60, start)
        machine.wait(2.0)
        last = machine.stats()
        for group, figure in (("host", "frames_free"), ("host", "frames_meta"),
                              ("host", "frames_tmem"), ("store", "slots_used")):
            if last[group][figure] != first[group][figure]:
                raise Failure(f"{figure} was {first[group][figure]} and is {last[group][figure]}")
    machine.send("poweroff\r")
    expect_end(machine)


CASES = [
    Case("tmem-linux", block, memory="512M"),
    Case("tmem-not-allowed", not_allowed, memory="512M"),
    Case("tmem-full", full, memory="512M"),
    Case("tmem-full-swap", full_swap, memory="512M"),
    Case("tmem-swap", swap("158M random=0 hot=0", "320M"), memory="512M"),
    Case("tmem-swap-short", swap("158M random=0 hot=0", "144M", stored=True), long=True, memory="512M"),
    Case("tmem-hog", hog("memcheck=180M passes=0", "320M"), memory="512M"),
    Case("tmem-hog-short", hog("memcheck=180M passes=0", "176M", stored=True), memory="512M"),
    Case("tmem-swap-smp", swap("110M threads=2 passes=0", "320M", vcpus=2), memory="512M", cpus=2),
    Case("tmem-kill", kill, memory="512M", cpus=2),
    Case("tmem-linux", block, emu="bochs", long=True, memory="512M"),
    Case("tmem-swap", swap("96M passes=0", "320M", seconds=900), emu="bochs", memory="512M"),
    Case("tmem-hog-short", hog("memcheck=180M passes=0", "176M", stored=True), emu="bochs",
         long=True, memory="512M"),
]
