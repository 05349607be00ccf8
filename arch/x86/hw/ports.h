/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the devices of a PC lie among the I/O ports, and how fast they count: ICH data sheets,
 * "Fixed I/O Address Ranges".  The machine has them there, and so has a guest.
 */
#ifndef SPILLWAY_ARCH_X86_HW_PORTS_H
#define SPILLWAY_ARCH_X86_HW_PORTS_H

#include "base/bits.h"

/* 8259s: command; data is the next port. */
#define IOPORT_PIC_MASTER 0x20
#define IOPORT_PIC_SLAVE  0xa0

/* 8254: one port for each of three channels, then the command. */
#define IOPORT_PIT         0x40
#define IOPORT_PIT_COMMAND 0x43
#define PIT_HZ             1193182ull /* 14.31818 MHz / 12 */

/* Keyboard controller. */
#define IOPORT_KBC_DATA    0x60
#define IOPORT_KBC_COMMAND 0x64

/* "System Control Port B", ICH data sheets: "NMI_SC". */
#define IOPORT_SYSTEM_B  0x61
#define SYSTEM_B_GATE2   0x01 /* of the 8254's channel 2 */
#define SYSTEM_B_SPEAKER 0x02
#define SYSTEM_B_REFRESH 0x10 /* toggles every 15 us */
#define SYSTEM_B_OUT2    0x20 /* of that channel */
#define SYSTEM_B_CHANNEL 0x40 /* IOCHK# */
#define SYSTEM_B_PARITY  0x80 /* SERR#, or memory parity on older machines */

/* RTC and CMOS memory: index; data is the next port. */
#define IOPORT_CMOS  0x70
#define CMOS_CENTURY 0x32 /* where the FADT says it is */

#define IOPORT_COM1 0x3f8
#define IOPORT_COM2 0x2f8
#define IOPORT_COM3 0x3e8
#define IOPORT_COM4 0x2e8

/* PCI 3.0, 3.2.2.3.2 "Software Generation of Configuration Transactions". */
#define IOPORT_PCI_ADDRESS 0xcf8
#define IOPORT_PCI_DATA    0xcfc
#define PCI_ADDRESS_ENABLE BIT(31)

/* ICH data sheets: "RST_CNT". */
#define IOPORT_RESET_CONTROL 0xcf9
#define RESET_CONTROL_RESET  0x06 /* of CPU and system */

/* An emulator's debug port: a read gives its own number. */
#define IOPORT_DEBUG 0xe9

#endif
