# SPDX-License-Identifier: BSD-2-Clause
"""The rules of a VM's life, of the scheduler and of a CPU's main loop; as in rules.py."""

VM_RULES = (
    ("vm: a run finds nothing of the one before", "hv/vm/start.c",
     "    memset(&vm->run, 0, sizeof(vm->run));",
     "    vm->run.closed = vm->run.made = vm->run.restart = false;",
     "however_it_ended"),
)

TIME_RULES = (
    ("running: a pause is stolen time", "hv/run/sched.c",
     "if (vcpu->activity == ACTIVITY_ACTIVE) {",
     "if (false) {",
     "test_waits_while_paused"),
    ("running: a halted vCPU waits for no CPU", "hv/run/sched.c",
     "if (vcpu->activity == ACTIVITY_ACTIVE) {",
     "if (true) {",
     "test_waits_while_paused"),
    ("running: a timer that is armed too early is moved", "hv/machine/loop.c",
     " || deadline > armed_ns[cpu] + LATER_NS",
     "",
     "test_an_armed_timer"),
    ("running: a timer that is armed too late is moved", "hv/machine/loop.c",
     " || deadline < armed_ns[cpu]",
     "",
     "test_an_armed_timer"),
    ("running: a timer that has fired is armed again", "hv/machine/loop.c",
     "if (armed_ns[cpu] <= arch_clock_ns()) {",
     "if (false) {",
     "test_an_armed_timer"),
)

RUN_RULES = VM_RULES + TIME_RULES
