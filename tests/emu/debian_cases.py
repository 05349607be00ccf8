# SPDX-License-Identifier: BSD-2-Clause
"""Whole Debians on disks of their own (`make debian`): a login, services, an orderly end, a kill."""
import hashlib
import re
import time

from cases import Case, expect_end, host
from debian import FILES, Disks, Shell, fetch, ssh, vm
from machine import Failure
from uplink_cases import free_ports

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
    shell.run("systemctl stop postgresql@15-main", 120)
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


# How the emulator's network reaches the guests that it has given their addresses: ssh and nginx of each.
FORWARD = "hostfwd=tcp:127.0.0.1:%d-10.0.2.%d:%d"
ADDRESSES = (15, 16)


def name_of(shell, names_of):
    """Tells the guest its name, and notes it beside the address that it was given."""
    address = shell.run("until ip -4 -o addr | grep -o '10[.]0[.]2[.][0-9]*/'; do sleep 1; done", 120)
    shell.run(f"echo {shell.name} > /run/name")
    names_of[int(re.search(r"10[.]0[.]2[.](\d+)/", address).group(1))] = shell.name


def check_reached(name, ssh_port, http_port):
    """A command, a file in and out again, a page of nginx."""
    data = bytes(i * i % 251 for i in range(4 << 20))
    if ssh(ssh_port, "cat /run/name").decode() != name + "\n":
        raise Failure(f"{name} is not behind its address")
    ssh(ssh_port, "cat > /root/file", data)
    if hashlib.md5(ssh(ssh_port, "cat /root/file")).digest() != hashlib.md5(data).digest():
        raise Failure(f"a file has come back from {name} with other bytes")
    if b"Welcome to nginx" not in fetch(http_port):
        raise Failure(f"nginx of {name} answers with something else")


def reached(boot):
    """Two Debians at 2:1 behind the machine's NIC: sshd and nginx are reached from outside, and from each other."""
    names, names_of = ("alpha", "beta"), {}
    ports = free_ports(4)
    words = ["user"] + [FORWARD % (port, address, service) for port, (address, service) in
                        zip(ports, [(address, service) for address in ADDRESSES for service in (22, 80)])]
    with Disks(2) as disks:
        config = host(pool="256M", when_idle="monitor") + "[switch lan]\nuplink = eth0\n" + \
            "".join(vm(name, f"nvme{number}", "256M", net0="lan") for number, name in enumerate(names, 1))
        machine = boot(config, FILES, extra=disks.options + ["--net=" + ",".join(words)], store="1G", timeout=2400)
        shells = [Shell(machine, name) for name in names]
        for shell in shells:
            shell.log_in(1200)
            check_services(shell)
            name_of(shell, names_of)
            shell.detach()
        if sorted(names_of) != list(ADDRESSES):
            raise Failure(f"the guests' addresses are {names_of}, expected {ADDRESSES}")
        for number, address in enumerate(ADDRESSES):
            check_reached(names_of[address], *ports[2 * number:2 * number + 2])
        for number, other in enumerate(reversed(ADDRESSES)):
            page = ssh(ports[2 * number], "exec 3<>/dev/tcp/10.0.2.%d/80; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
                       % other)
            if b"Welcome to nginx" not in page:
                raise Failure(f"between the guests: {page}")
        for name in names:
            stop(machine, name)
        machine.send("poweroff\r")
        expect_end(machine)
        disks.check()


CASES = [
    Case("debian-kept", lambda boot: kept(boot, "nvme1", 500), optional=True, memory="768M", cpus=2),
    Case("debian-busy", lambda boot: busy(boot, "nvme", 300), optional=True, memory="768M", cpus=2),
    Case("debian-reached", reached, optional=True, memory="768M", cpus=2),
    Case("debian-kept", lambda boot: kept(boot, "ata1", 3000), emu="bochs", optional=True, memory="768M"),
]
