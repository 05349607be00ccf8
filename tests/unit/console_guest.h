/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest with a virtio-console, in the machine of tests/unit/vdev_fake.h: what it prints is a text
 * of which each letter is known by its number, and so is what is typed.
 */
#ifndef SPILLWAY_TESTS_UNIT_CONSOLE_GUEST_H
#define SPILLWAY_TESTS_UNIT_CONSOLE_GUEST_H

#include "arch/x86/hw/virtio_console.h"
#include "tests/unit/virtio_driver.h"

#define RECEIVE  VIRTIO_CONSOLE_RECEIVE
#define TRANSMIT VIRTIO_CONSOLE_TRANSMIT
#define SIZE     16u        /* of the transmit ring; the other one has one descriptor */
#define MEMORY   (4u << 20) /* of the guest */
#define TEXT     DRIVER_BUFFERS
#define KEYS     (DRIVER_BUFFERS + 0x100000u) /* the buffer for them */

struct vconsole;

extern struct virtio_driver console_driver;
extern unsigned console_wakes; /* of the vCPU's waiter */

/* For cmocka: a machine whose driver is there; all pins are gone at its end. */
int console_begin(void **state);
int console_end(void **state);
struct vconsole *console_device(void);
/* Resets the device, and is there again. */
void console_start_driver(void);
bool console_is_broken(void);
/* The next calls of virtio_driver.h are for that ring: the two have not the same size. */
void console_choose_ring(unsigned queue);

char console_letter(uint64_t n);
/* Text that begins with the n-th letter. */
void console_put_text(uint64_t at, uint64_t n, uint32_t bytes);
/* What was shown since the last call is the text from the n-th letter on; how much it was. */
unsigned console_take_shown(uint64_t n);
/* Has the device given a chain back? */
bool console_was_given(unsigned queue, uint32_t *bytes);
/* Publishes a chain of one piece: to print, to receive into. */
void console_print(uint16_t head, uint64_t at, uint32_t bytes);
void console_offer(uint32_t bytes);
/* Prints a letter, after which keys go to this console. */
void console_use(void);

/* All of it is taken. */
void console_type(const char *text);
/* The buffer has come back, with these keys. */
void console_expect_keys(const char *text);

#endif
