# SPDX-License-Identifier: BSD-2-Clause
"""Guests of one switch: whole files both ways, and not a frame to the guest of another switch; over many queues, with
memory that is short, and with a guest that is killed in the middle."""
import re
import time

from cases import LAST_OK, Case, expect_end, host
from linux_cases import run_vm
from machine import Failure
from uplink_cases import FILES, MODULES

ADDRESSES = {"alpha": "10.9.0.1", "beta": "10.9.0.2", "gamma": "10.9.0.3"}
ARP_BYTES = 42
# Nobody sends what nobody has asked for: the figures of two guests can be compared.
OPTIONS = f"ipv6.disable=1 modules={MODULES}"

# A busybox' nc that listens ends what it sends when its own input ends, and who talks to it then goes: its input is a pipe
# that somebody could still write to.  The wget of Debian's (1.35) is built without time-outs and dies of its option -T.
MAKE = ("for i in $(seq {files}); do dd if=/dev/urandom of=/%(kind)s$i bs=64k count={pieces} 2> /dev/null; done; "
        "md5sum /%(kind)s*; ")
UP = "ip addr add {own}/24 dev eth0; ip link set eth0 up; "
MEET = "until ping -c 1 -W 1 {other} > /dev/null; do true; done; ping -q -c 3 {other} || exit 1; "
DONE = "echo all is done; grep put.[0-9] /proc/interrupts; echo so often; "
# It can be reached when everything is ready: files to fetch, and who takes as many.
OFFER = "mkfifo /p; " + MAKE % {"kind": "down"} + "httpd -h /; "
SERVE = (OFFER + "for i in $(seq {files}); do nc -l -p 200$i <> /p > /up$i & done; " + UP + MEET +
         "wait; md5sum /up*; " + DONE + "sleep 99999")
# {each}: what is done behind each file.
FETCH = (MAKE % {"kind": "up"} + UP + MEET +
         "for i in $(seq {files}); do wget -q -O /got$i http://{other}/down$i & {each}done; "
         "for i in $(seq {files}); do nc {other} 200$i < /up$i & {each}done; wait; md5sum /got*; " + DONE +
         "until ping -q -c 1 -W 1 {nobody}; do echo nobody there; done")
ONE_BY_ONE = "wait; "
ALONE = UP + "until ping -q -c 1 -W 1 {other} || ping -q -c 1 -W 1 {nobody}; do echo nobody there; done"

# Beside all that it reads a file that is larger than what it may have, and looks whether it is still the same.  Buffers
# to receive into leave memory meanwhile, since pings use up few of them.
HOG = ("dd if=/dev/urandom of=/r bs=64k count=16 2> /dev/null; for i in $(seq {mib}); do cat /r; done > /hog; "
       "md5sum /hog > /s; ((while md5sum -c /s > /dev/null; do true; done; echo it is another one) &); ")
SLOWLY = "wait; ping -q -i 0.1 -c 150 {other}; "

# Both send to each other without end, and offer a file; a beta that is new finds nobody who takes what it sends.
STREAM = (OFFER + "nc -l -p 2002 <> /p > /dev/null & " + UP + MEET + "nc {other} 2001 < /dev/zero; "
          "echo nobody takes it; until wget -q -O /got1 http://{other}/down1; do sleep 1; done; md5sum /got1; "
          "nc {other} 2001 < /got1; echo all is done; sleep 99999")
TAKE = (OFFER + "nc -l -p 2001 <> /p | md5sum > /sum & " + UP + MEET + "nc {other} 2002 < /dev/zero & "
        "wait; cat /sum; sleep 99999")
BYSTANDER = UP + MEET + "wget -q -O /got1 http://{other}/down1; md5sum /got1"


def net_vm(name, command, others, net="lan", size=(1, 1), each=ONE_BY_ONE, memory="96M", **keys):
    """A guest with one NIC that runs the command."""
    addresses = dict(zip(("own", "other", "nobody"), (ADDRESSES[who] for who in (name, *others))))
    command = command.replace("{each}", each).format(files=size[0], pieces=size[1], **addresses)
    return run_vm(name, command, OPTIONS, memory, net0=net, **keys)


def two_vms(serve, fetch, **keys):
    """Alpha and beta, on lan."""
    return "[switch lan]\n" + net_vm("beta", serve, ("alpha", "gamma"), **keys) + \
        net_vm("alpha", fetch, ("beta", "gamma"), **keys)


def check_sums(machine, files):
    """What has arrived is what has been sent."""
    sums = {(who, path): md5 for who, md5, path in
            re.findall(r"^(alpha|beta)\| ([0-9a-f]{32})  /(\w+)$", machine.text, re.M)}
    for i in range(1, files + 1):
        for sent, got in ((("beta", f"down{i}"), ("alpha", f"got{i}")), (("alpha", f"up{i}"), ("beta", f"up{i}"))):
            if sent not in sums or sums[sent] != sums.get(got):
                raise Failure(f"{sent[0]} has sent {sent[1]} as {sums.get(sent)}, it has come as {sums.get(got)}")


def queues_used(machine, who):
    """How many of its queues frames have come on: one interrupt for one frame, or several."""
    lines = re.findall(rf"^{who}\| +\d+: +([\d ]+\d) .*-input\.\d$", machine.text, re.M)
    return sum(sum(map(int, line.split())) > 20 for line in lines)


def check_figures(vms, files, pieces):
    """What one has sent the other one has got, or it is counted as dropped."""
    for one, other in (("alpha", "beta"), ("beta", "alpha")):
        sent, got = vms[one], vms[other]
        if sent["net_tx_bytes"] < files * pieces << 16 or got["net_rx_bytes"] < files * pieces << 16:
            raise Failure(f"{one} has sent {sent['net_tx_bytes']} bytes, {other} got {got['net_rx_bytes']}")
        # Who is there first asks for the other one's address before that one listens.
        missing = sent["net_tx"] - got["net_rx"] - got["net_rx_drops"]
        bytes_missing = sent["net_tx_bytes"] - got["net_rx_bytes"]
        if sent["net_tx_drops"] != 0 or missing < 0 or (got["net_rx_drops"] == 0 and bytes_missing != missing * ARP_BYTES):
            raise Failure(f"{one} and {other} do not agree: {missing} frames, {bytes_missing} bytes: {sent}, {got}")


def expect_talk(machine, files):
    """Until all files have gone both ways and nobody else answers; the sums are right."""
    at = max(machine.expect(rf"^{who}\| so often", 500).end() for who in ("alpha", "beta"))
    machine.expect(r"^alpha\| nobody there", 60, at)
    check_sums(machine, files)
    return at


def figures(machine):
    return {vm["name"]: vm for vm in machine.stats()["vms"]}


def finish(machine, names):
    for who in names:
        at = len(machine.text)
        machine.command(f"stop {who}")
        machine.expect(rf"vm {who}: ended well", 60, at)
    left = machine.stats()["host"]["frames_guest"]
    if left != 0:
        raise Failure(f"{left} guest frames leaked")
    machine.send("poweroff\r")
    expect_end(machine, LAST_OK)


def net(files, pieces, vcpus=1):
    """Alpha and beta on one switch, gamma on another one.  With more vCPUs, all files at once."""
    def run(boot):
        machine = boot(host(pool="320M", store="none", when_idle="monitor") +
                       "[switch other]\n" + net_vm("gamma", ALONE, ("alpha", "beta"), "other") +
                       two_vms(SERVE, FETCH, size=(files, pieces), vcpus=vcpus, each=ONE_BY_ONE if vcpus == 1 else ""),
                       FILES)
        at = expect_talk(machine, files)
        machine.expect(r"^gamma\| nobody there", 60, at)
        vms = figures(machine)
        check_figures(vms, files, pieces)
        if vms["gamma"]["net_rx"] != 0 or vms["gamma"]["net_tx"] == 0:
            raise Failure(f"gamma is on another switch: {vms['gamma']}")
        queues = [queues_used(machine, who) for who in ("alpha", "beta")]
        if vcpus > 1 and min(queues) < 2:
            raise Failure(f"frames came on {queues} queues")
        finish(machine, ADDRESSES)
        return f"queues used {queues}, dropped {[vms[who]['net_rx_drops'] for who in ('alpha', 'beta')]}"
    return run


def pressure(files, pieces, mib, most):
    """All that is not used for a moment leaves memory; so do the buffers that frames are received into."""
    def run(boot):
        hog = HOG.replace("{mib}", str(mib))
        machine = boot(host(pool="64M", store="auto", when_idle="monitor") +
                       two_vms(hog + SERVE, hog + FETCH, size=(files, pieces), each=SLOWLY, memory="112M", max=most),
                       FILES)
        for who in ("alpha", "beta"):
            machine.expect(rf"^{who}\| 3 packets transmitted, 3 packets received", 300)
        before = figures(machine)
        expect_talk(machine, files)
        after = figures(machine)
        if "it is another one" in machine.text:
            raise Failure("a page has come back wrong")
        ins = [after[who]["page_ins"] - before[who]["page_ins"] for who in ("alpha", "beta")]
        if min(ins) < 10000:
            raise Failure(f"memory was not short: {ins} pages came in")
        check_figures(after, files, pieces)
        if len(re.findall(r"^alpha\| 150 packets transmitted, 150 packets received", machine.text, re.M)) != 2 * files:
            raise Failure("not each ping was answered")
        finish(machine, ("alpha", "beta"))
        return f"{ins} pages came in, dropped {[after[who]['net_rx_drops'] for who in ('alpha', 'beta')]}"
    return run


def sum_of(machine, who, path, start=0):
    return machine.expect(rf"^{who}\| ([0-9a-f]{{32}})  {path}$", 120, start).group(1)


def expect_stream(machine, names):
    """Until each has got more than a MiB from the other one, and then some more."""
    before = None
    for _ in range(60):
        machine.wait(1.0)
        vms = figures(machine)
        got = [vms[who]["net_rx_bytes"] for who in names]
        if min(got) > 1 << 20:
            if before is not None and all(now > then for now, then in zip(got, before)):
                return
            before = got
    raise Failure(f"expected streams both ways, {got} bytes have come")


def killed(pieces):
    """Beta is killed while alpha and it send to each other: alpha serves gamma meanwhile, and a new beta afterwards."""
    def run(boot):
        config = host(pool="320M", store="none", when_idle="monitor") + \
            two_vms(TAKE, STREAM, size=(1, pieces)) + \
            net_vm("gamma", BYSTANDER, ("alpha", "beta"), autostart="no")
        machine = boot(config, FILES)
        of_alpha = sum_of(machine, "alpha", "/down1")
        expect_stream(machine, ("alpha", "beta"))
        machine.command("kill beta", 15)
        at = machine.expect(r"vm beta: stopped by the operator", 10).end()
        machine.command("start gamma")
        if sum_of(machine, "gamma", "/got1", at) != of_alpha:
            raise Failure("gamma has got another file")
        machine.expect(r"vm gamma: ended well", 30)
        if figures(machine)["alpha"]["state"] != "running":
            raise Failure("alpha does not run")
        at = len(machine.text)
        begin = time.monotonic()
        machine.command("start beta")
        of_beta = sum_of(machine, "beta", "/down1", at)
        machine.expect(r"^alpha\| nobody takes it", 120, at)
        if sum_of(machine, "alpha", "/got1", at) != of_beta:
            raise Failure("alpha has got another file from the new beta")
        machine.expect(r"^alpha\| all is done", 60, at)
        if sum_of(machine, "beta", "-", at) != of_beta:
            raise Failure("the new beta has got another file")
        seconds = time.monotonic() - begin
        finish(machine, ("alpha", "beta"))
        return f"{seconds:.0f} s from the start of the new one to the end of its files"
    return run


CASES = [
    Case("net", net(1, 64), memory="512M", cpus=2),
    Case("net-queues", net(4, 24, vcpus=4), long=True, memory="512M", cpus=2),
    Case("net-pressure", pressure(1, 24, 20, "20M"), long=True, memory="384M", cpus=2),
    Case("net-kill", killed(32), long=True, memory="512M", cpus=2),
    Case("net", net(1, 8), emu="bochs", memory="512M", timeout=900),
]
