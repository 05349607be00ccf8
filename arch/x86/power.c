/* SPDX-License-Identifier: BSD-2-Clause */
#include "arch/x86/power.h"

#include <string.h>

#include "arch/x86/acpi.h"
#include "arch/x86/cpu.h"
#include "arch/x86/hw/ports.h"
#include "arch/x86/panic.h"
#include "arch/x86/percpu.h"
#include "base/log.h"
#include "drivers/platform.h"
#include "hv/arch.h"
#include "hv/backend.h"

/* UEFI 2.10 4.5 "EFI Runtime Services Table": header of 24 bytes, ResetSystem is the 11th entry. */
#define RUNTIME_RESET_SYSTEM 104
#define EFI_RESET_COLD       0
#define EFI_RESET_SHUTDOWN   2

#define KEYBOARD_RESET 0xfe

#define SETTLE_US 100000

void firmware_reset(uint64_t page_table, uint64_t function, uint64_t type); /* firmware.asm */

/* Absent in a test image without backends. */
#pragma weak arch_backend

static const struct handover *handover;
static _Atomic bool firmware_tried;

void power_init(const struct handover *given)
{
    handover = given;
}

void power_disable_virtualisation(void)
{
    const struct vcpu_backend *backend = arch_backend != NULL ? arch_backend() : NULL;

    if (backend != NULL) {
        backend->cpu_disable();
    }
}

/* Returns if the firmware cannot.  Tried once: an exception in it must not lead back into it. */
static void try_firmware(uint64_t type)
{
    uint64_t function = 0;

    if (handover == NULL || handover->runtime_services == 0 ||
        atomic_exchange(&firmware_tried, true)) {
        return;
    }
    memcpy(&function, arch_ptr(hpa(handover->runtime_services + RUNTIME_RESET_SYSTEM)), 8);
    if (function != 0) {
        firmware_reset(handover->firmware_page_table, function, type);
    }
}

static void stop_machine(void)
{
    arch_panic_stop_others();
    power_disable_virtualisation();
}

static void settle(void)
{
    uint64_t end = arch_clock_ns() + SETTLE_US * 1000ull;

    while (arch_clock_ns() < end) {
        cpu_pause();
    }
}

static void try_acpi_reset(void)
{
    struct acpi_register r;
    uint8_t value;

    if (acpi_reset_register(&r, &value) && r.space == ACPI_SPACE_IO) {
        port_out8((uint16_t)r.address, value);
        settle();
    }
}

void arch_reset(void)
{
    const struct descriptor_pointer none = {0, 0};

    stop_machine();
    try_firmware(EFI_RESET_COLD);
    try_acpi_reset();
    port_out8(IOPORT_RESET_CONTROL, RESET_CONTROL_RESET);
    settle();
    port_out8(IOPORT_KBC_COMMAND, KEYBOARD_RESET);
    settle();
    /* No IDT: the exception becomes a triple fault. */
    lidt(&none);
    __asm__ volatile("int3");
    cpu_halt_forever();
}

void arch_power_off(void)
{
    uint16_t ports[2];
    uint8_t types[2];

    stop_machine();
    try_firmware(EFI_RESET_SHUTDOWN);
    if (acpi_power_off(ports, types)) {
        for (unsigned i = 0; i < 2; i++) {
            if (ports[i] != 0) {
                port_out16(ports[i], (uint16_t)(FIELD_PREP(PM1_SLP_TYP, types[i]) | PM1_SLP_EN));
            }
        }
        settle();
    }
    log_error("neither the firmware nor ACPI can switch this machine off: halted");
    cpu_halt_forever();
}
