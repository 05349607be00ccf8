# SPDX-License-Identifier: BSD-2-Clause
"""Whole Debians on disks of their own (`make debian`): a login, services, an orderly end, a kill."""
import re
import time

from cases import Case, expect_end, host
from debian import FILES, Disks, Shell, vm
from machine import Failure

ROWS = 12
CLUSTER = "/usr/lib/postgresql/15/bin/pg_checksums -c -D /var/lib/postgresql/15/main"
# A data base of about 50 MiB, and 20,000 values of 1 KiB, for as long as it is told.
BENCH = ("su postgres -c 'pgbench -T %d -c 2 postgres' > /tmp/pgbench 2>&1 & "
         "while kill -0 $! 2> /dev/null; do redis-benchmark -q -n 2000 -d 1024 -r 20000 -t set,get > /tmp/redis "
         "|| break; done; wait $!")
UP = "until pg_isready -q; do sleep 1; done"
INSERT = ("for i in $(seq 1 1000); do su postgres -c \"psql -qc 'insert into kept values ($i)'\" && echo acked $i; done")


def check_services(shell):
    """What the image is for runs, and nothing has failed."""
    shell.run(UP, 600)
    for command, expected in (("redis-cli ping", "PONG"), ("systemctl is-active nginx ssh", "active\nactive"),
                              ("systemctl --failed --no-legend | wc -l", "0")):
        answer = shell.run(command, 120)
        if expected not in answer:
            raise Failure(f"'{command}' is answered with '{answer}', expected '{expected}'")


def check_dmesg(shell):
    """The kernel has nothing to say about time that went by."""
    bad = shell.run("dmesg | grep -iE 'stall|lockup|hung|clocksource.*unstable|I/O error' || true")
    if re.search(r"\S", bad):
        raise Failure(f"dmesg: {bad}")


def stop(machine, name):
    """By the power button, which systemd hears."""
    start = len(machine.text)
    machine.send(f"stop {name}\r")
    machine.expect(rf"vm {name}: ended well", 300, start)


def kept(boot, device, seconds):
    """A killed Debian recovers its journal and has every row that PostgreSQL has acknowledged."""
    with Disks(1) as disks:
        machine = boot(host(pool="256M", when_idle="monitor") + vm("alpha", device, "384M"), FILES,
                       extra=disks.options, store="1G", timeout=4 * seconds)
        shell = Shell(machine, "alpha")
        shell.log_in(seconds)
        check_services(shell)
        shell.run("su postgres -c \"psql -qc 'create table kept (i int)'\"")
        start, _ = shell.type(INSERT)
        machine.expect(rf"acked {ROWS}\n", 300, start)
        shell.detach()
        machine.command("kill alpha")
        machine.expect("vm alpha: stopped by the operator", 60)
        acked = max(int(i) for i in re.findall(r"acked (\d+)\n", machine.text))
        again = len(machine.text)
        machine.command("start alpha")
        shell.log_in(seconds, again)
        shell.run(UP, 600)
        count = int(re.search(r"\d+", shell.run("su postgres -c \"psql -qAtc 'select count(*) from kept'\"")).group(0))
        if count not in (acked, acked + 1):
            raise Failure(f"{count} rows are there, {acked} were acknowledged")
        if "recovery complete" not in shell.run("dmesg | grep -i ext4"):
            raise Failure("the journal was not recovered")
        check_dmesg(shell)
        shell.detach()
        stop(machine, "alpha")
        machine.send("poweroff\r")
        expect_end(machine)
        disks.check()
        return f"{count} rows, of {acked} acknowledged"


def check_sums(shell):
    """What pgbench has added up agrees everywhere, and each page of the data base with its checksum."""
    sums = "select (select sum(abalance) from pgbench_accounts) = all (array[(select sum(tbalance) from pgbench_tellers), " \
        "(select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history)])"
    if "t" not in shell.run(f"su postgres -c \"psql -qAtc '{sums}'\"", 300).split():
        raise Failure("the sums of the data base differ")
    shell.run("systemctl stop postgresql", 120)
    answer = shell.run(f"su postgres -c '{CLUSTER}'", 300)
    if not re.search(r"Bad checksums: +0\n", answer):
        raise Failure(answer)


def busy(boot, device, seconds):
    """Two of them in a pool for one serve pgbench and Redis: no error, clocks and sums are right."""
    names = ("alpha", "beta")
    with Disks(2) as disks:
        config = host(pool="256M", when_idle="monitor") + \
            "".join(vm(name, f"{device}{number}", "256M") for number, name in enumerate(names, 1))
        machine = boot(config, FILES, extra=disks.options, store="1G", timeout=3000 + seconds)
        shells = [Shell(machine, name) for name in names]
        for shell in shells:
            shell.log_in(1200)
            check_services(shell)
            shell.run("su postgres -c 'pgbench -qi -s 3 postgres' 2>&1", 600)
            shell.detach()
        clocks, marks = [], []
        for shell in shells:
            shell.attach()
            clocks.append(float(shell.run("date +%s.%N")) - time.time())
            marks.append(shell.type(BENCH % seconds))
            shell.detach()
        figures = []
        for shell, clock, mark in zip(shells, clocks, marks):
            shell.wait(mark, 2 * seconds)
            shell.attach()
            result = shell.run("cat /tmp/pgbench")
            figures.append(re.search(r"tps = ([\d.]+)", result).group(1))
            if "number of failed transactions: 0 " not in result:
                raise Failure(result)
            late = float(shell.run("date +%s.%N")) - time.time() - clock
            if abs(late) > 2:
                raise Failure(f"the clock of {shell.name} is off by {late:.1f} s")
            check_dmesg(shell)
            check_sums(shell)
            shell.detach()
        last = machine.stats()
        for name in names:
            stop(machine, name)
        machine.send("poweroff\r")
        expect_end(machine)
        disks.check()
        return f"tps {' and '.join(figures)}, {last['store']['written_pages']} pages written to the store"


CASES = [
    Case("debian-kept", lambda boot: kept(boot, "nvme1", 500), optional=True, memory="768M", cpus=2),
    Case("debian-busy", lambda boot: busy(boot, "nvme", 300), optional=True, memory="768M", cpus=2),
    Case("debian-kept", lambda boot: kept(boot, "ata1", 3000), emu="bochs", optional=True, memory="768M"),
]
