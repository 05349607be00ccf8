# SPDX-License-Identifier: BSD-2-Clause
"""What kvm-unit-tests say in a guest, by section of their unittests.cfg.

The first number is the least of PASS lines, on both emulators or on QEMU; a newer checkout may have more.
A failure that no pattern here explains is one of ours.  Those of QEMU's TCG are there without us, too.
"""


class Expected:
    def __init__(self, qemu, bochs=None, fails=(), qemu_fails=(), bochs_fails=()):
        self._passes = {"qemu": qemu, "bochs": qemu if bochs is None else bochs}
        self._fails = {"qemu": list(fails) + list(qemu_fails),
                       "bochs": list(fails) + list(bochs_fails)}

    def passes(self, emu):
        return self._passes[emu]

    def failures(self, emu):
        return self._fails[emu]


SLOW_TSC = (r"^APIC LVT timer one shot$",
            "it takes the TSC for faster than the APIC timer; Bochs' has 100 MHz")
CANONICAL = "TCG does not check that an address is canonical"
ENDLESS = (r"^does not end$", "TCG: an ICEBP that is intercepted comes again for ever")

HELD_BACK = (r"MOVSS blocking|^MOV SS \+ watchpoint \+ (int \$1|INT3)$",
             "Bochs forgets what MOV SS holds back when it delivers an event, or adds it to that of GD")

# apic.flat with two: 30,000 NMIs from a CPU that waits without PAUSE for one that shares the host's CPU with
# it, a slice each.
VCPUS = {"x2apic": 1, "xapic": 1}
# MiB of memory, seconds (three times as many on Bochs), where not 128 and 60.
MEMORY = {}
# vmexit_cr0_wp and _cr4_pge write registers without an exit until a thousand million cycles have gone, and
# Bochs empties its TLB each time: a quarter of an hour for the first, nine minutes for the second.
SECONDS = {"x2apic": 240, "xapic": 240, "access": 300, "sieve": 300, "emulator": 120, "vmexit_ipi": 120,
           "vmexit_ipi_halt": 120, "vmexit_cr0_wp": 600, "vmexit_cr4_pge": 400, "kvmclock_test": 240}
# Computers differ, and may have others to do: a test that does not end after so many times that is stuck.
PATIENCE = 3
# A part reads a register twice within 5 ms of the host's clock: whoever else runs on the host takes those away.
TRIES = {"x2apic": 3, "xapic": 3}
# Less of the same.
ARGS = {"kvmclock_test": ["100000"]}

_NESTED = "nested virtualisation is not offered"
_PMU = "performance counters are not offered"
_HYPERV = "Hyper-V's interface is not offered"
_DEVICE = "a device that is not there"
_FEP = "needs KVM's forced emulation"
NOT_RUN = {
    "access_fep": _FEP, "vmx_pf_exception_test_fep": _FEP,
    "access-reduced-maxphyaddr": "needs a parameter of KVM's module",
    "asyncpf": "touches each page once, and a first touch never waits here: async-share is the test",
    "pmu": _PMU, "pmu_lbr": _PMU, "pmu_pebs": _PMU,
    "vmware_backdoors": _DEVICE, "s3": "needs a BIOS and its RTC wake-up", "intel_iommu": _DEVICE,
    "svm": _NESTED, "svm_unsupported_instruction_intercept_test": _NESTED, "svm_no_npt": _NESTED,
    "svm_pause_filter": _NESTED, "svm_npt": _NESTED, "vmx": _NESTED, "ept": _NESTED, "ept-mbec": _NESTED,
    "vmx_eoi_bitmap_ioapic_scan": _NESTED, "vmx_hlt_with_rvi_test": _NESTED, "vmx_apicv_test": _NESTED,
    "vmx_posted_intr_test": _NESTED, "vmx_apic_passthrough_thread": _NESTED,
    "vmx_init_signal_test": _NESTED, "vmx_sipi_signal_test": _NESTED,
    "vmx_apic_passthrough_tpr_threshold_test": _NESTED, "vmx_vmcs_shadow_test": _NESTED,
    "vmx_pf_exception_test": _NESTED, "vmx_pf_vpid_test": _NESTED, "vmx_pf_invvpid_test": _NESTED,
    "vmx_pf_no_vpid_test": _NESTED, "vmx_pf_exception_test_reduced_maxphyaddr": _NESTED,
    "hyperv_synic": _HYPERV, "hyperv_connections": _HYPERV, "hyperv_stimer": _HYPERV,
    "hyperv_stimer_direct": _HYPERV, "hyperv_clock": _HYPERV,
}
NOT_RUN_ON = {"qemu": {"access": "TCG, without us too, leaves P out of the error code for reserved bits, and "
                                 "each of many thousand failures is a page of dump"},
              "bochs": {"sieve": "a quarter of an hour of nothing but arithmetic"}}

# Their own counting ends with its figures only: that they end is what is asked.
_FIGURES = ("vmexit_cpuid", "vmexit_vmcall", "vmexit_mov_from_cr8", "vmexit_mov_to_cr8",
            "vmexit_inl_pmtimer", "vmexit_ipi", "vmexit_ipi_halt", "vmexit_ple_round_robin",
            "vmexit_tscdeadline", "vmexit_tscdeadline_immed", "vmexit_cr0_wp", "vmexit_cr4_pge",
            "sieve", "rmap_chain", "taskswitch")

TESTS = {name: Expected(0) for name in _FIGURES}
TESTS.update({
    "x2apic": Expected(48, 47, bochs_fails=[SLOW_TSC]),
    "xapic": Expected(48, 47, bochs_fails=[SLOW_TSC]),
    "ioapic": Expected(30),
    "cmpxchg8b": Expected(1),
    "smptest": Expected(1),
    "smptest3": Expected(1),
    "access": Expected(1),
    "smap": Expected(18),
    "pku": Expected(0),
    "pks": Expected(0),
    "emulator": Expected(148, 150, qemu_fails=[(r"^non-canonical r[sb]p-based access", CANONICAL)]),
    "eventinj": Expected(13),
    "hypercall": Expected(4),
    "idt_test": Expected(3, 4, qemu_fails=[(r"^Testing #UD rflags\.rf$", "TCG pushes RF clear")]),
    "memory": Expected(6),
    "msr": Expected(7, 399, qemu_fails=[(r"^Expected #GP on WRMSR\(MSR_FS_BASE", CANONICAL)]),
    "msr64": Expected(7, 399, qemu_fails=[(r"^Expected #GP on WRMSR\(MSR_FS_BASE", CANONICAL)]),
    "realmode": Expected(127),
    "setjmp": Expected(10),
    "syscall": Expected(2, 1, bochs_fails=[
        (r"^failed with code 63$", "SYSCALL in 32-bit code is AMD's; KVM emulates it on Intel")]),
    "tsc": Expected(3),
    "tsc_adjust": Expected(6),
    "xsave": Expected(386),
    "taskswitch2": Expected(12, 13, qemu_fails=[
        (r"^does not end$", "TCG: a call of a task whose conforming code has another DPL than its RPL")]),
    "kvmclock_test": Expected(1),
    "pcid-enabled": Expected(2),
    "pcid-disabled": Expected(2),
    "pcid-asymmetric": Expected(2),
    "rdpru": Expected(1),
    "umip": Expected(21, 11),  # the CPU that Bochs models has no UMIP
    "la57": Expected(11, 49, qemu_fails=[
        (r"^Write to (GDTR|IDTR|TR|LDT|MSR_FS)_BASE with value f?f?a+ did NOT fail", CANONICAL)]),
    "debug": Expected(13, 20, qemu_fails=[
        (r"Single-step #DB w/ STI blocking", "TCG has no shadow of STI for steps"), ENDLESS],
        bochs_fails=[HELD_BACK]),
    "tsx-ctrl": Expected(0),
    "cet": Expected(0),
    "lam": Expected(15),
})
