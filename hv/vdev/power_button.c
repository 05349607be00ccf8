/* SPDX-License-Identifier: BSD-2-Clause */
#include "hv/vdev/power_button.h"

static void set_events(struct power_button *button, uint8_t events)
{
    button->events = events;
    button->set_irq(button->owner, events != 0);
}

void power_button_init(struct power_button *button, void *owner,
                       void (*set_irq)(void *owner, bool level))
{
    button->owner = owner;
    button->set_irq = set_irq;
    button->events = 0;
}

void power_button_reset(struct power_button *button)
{
    set_events(button, 0);
}

void power_button_press(struct power_button *button)
{
    set_events(button, button->events | ACPI_EVENT_BUTTON);
}

uint8_t power_button_read(const struct power_button *button)
{
    return button->events;
}

void power_button_write(struct power_button *button, uint8_t value)
{
    set_events(button, button->events & (uint8_t)~value);
}
