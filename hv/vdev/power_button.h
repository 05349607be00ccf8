/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The power button of a machine with hardware-reduced ACPI.
 *
 * Such a machine has no fixed button register: a Generic Event Device (ACPI 6.4,
 * 5.6.9 "Interrupt-signaled ACPI events") has an interrupt and a register of ours,
 * which only its method in hv/vdev/dsdt.asl knows.  A press sets a bit there and
 * raises the line; the method reads the register, writes back what it has read,
 * which clears it and lowers the line, and notifies the PNP0C0C device.
 *
 * All under the VM's device lock (RANK_VDEV).
 */
#ifndef SPILLWAY_HV_VDEV_POWER_BUTTON_H
#define SPILLWAY_HV_VDEV_POWER_BUTTON_H

#include "base/types.h"

/* Both are in dsdt.asl, too. */
#define ACPI_EVENT_PORT   0x602 /* one byte; write one to clear */
#define ACPI_EVENT_IRQ    9     /* IOAPIC pin, level */
#define ACPI_EVENT_BUTTON 0x01

struct power_button {
    void *owner;
    void (*set_irq)(void *owner, bool level);
    uint8_t events; /* ACPI_EVENT_*: not acknowledged yet */
};

/* set_irq() gets `owner`, with the device lock held. */
void power_button_init(struct power_button *button, void *owner,
                       void (*set_irq)(void *owner, bool level));
/* Power-on state; the line is low. */
void power_button_reset(struct power_button *button);
/* Of presses that the guest has not seen, it sees one. */
void power_button_press(struct power_button *button);
/* ACPI_EVENT_PORT. */
uint8_t power_button_read(const struct power_button *button);
void power_button_write(struct power_button *button, uint8_t value);

#endif
