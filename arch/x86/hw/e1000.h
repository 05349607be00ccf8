/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Registers of the 8254x and 82574 Ethernet controllers, with legacy descriptors.
 * PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual (8254x SDM), 3.2.3
 * "Receive Descriptor Format", 3.3.3 "Legacy Transmit Descriptor Format", chapter 13 "Register
 * Descriptions"; 82574 GbE Controller Family Datasheet, chapter 10 "Driver Programming Interface".
 */
#ifndef SPILLWAY_ARCH_X86_HW_E1000_H
#define SPILLWAY_ARCH_X86_HW_E1000_H

#include "base/bits.h"

#define E1000_VENDOR  0x8086
#define E1000_82540EM 0x100e
#define E1000_82574L  0x10d3

enum e1000_register {
    E1000_CTRL = 0x0000,
    E1000_STATUS = 0x0008,
    E1000_EERD = 0x0014, /* the EEPROM, word by word */
    E1000_ICR = 0x00c0,  /* reading acknowledges */
    E1000_ITR = 0x00c4,  /* least time between interrupts, of 256 ns */
    E1000_IMS = 0x00d0,
    E1000_IMC = 0x00d8,
    E1000_RCTL = 0x0100,
    E1000_TCTL = 0x0400,
    E1000_TIPG = 0x0410,
    E1000_RDBAL = 0x2800,
    E1000_RDBAH = 0x2804,
    E1000_RDLEN = 0x2808,
    E1000_RDH = 0x2810,
    E1000_RDT = 0x2818,
    E1000_RDTR = 0x2820,
    E1000_TDBAL = 0x3800,
    E1000_TDBAH = 0x3804,
    E1000_TDLEN = 0x3808,
    E1000_TDH = 0x3810,
    E1000_TDT = 0x3818,
    E1000_TIDV = 0x3820,
    E1000_MTA = 0x5200, /* 128 words */
    E1000_RAL0 = 0x5400,
    E1000_RAH0 = 0x5404,
    E1000_REGISTER_BYTES = 0x6000,
};

#define E1000_MTA_WORDS 128u

#define E1000_CTRL_ASDE 0x00000020u /* speed as the PHY has found it */
#define E1000_CTRL_SLU  0x00000040u /* set link up */
#define E1000_CTRL_RST  0x04000000u

/* An order, and the answer with the word in the upper half; the two families differ. */
#define E1000_EERD_START         0x00000001u
#define E1000_EERD_DONE          0x00000010u
#define E1000_EERD_ADDRESS_SHIFT 8
#define E1000_EERD_DONE_82574    0x00000002u
#define E1000_EERD_SHIFT_82574   2
#define E1000_EEPROM_MAC         0 /* and the two words behind it */

#define E1000_RAH_AV    0x80000000u
#define E1000_STATUS_LU 0x00000002u

#define E1000_INT_LSC    0x00000004u
#define E1000_INT_RXDMT0 0x00000010u /* few descriptors are left */
#define E1000_INT_RXO    0x00000040u
#define E1000_INT_RXT0   0x00000080u /* a frame has come */

#define E1000_RCTL_EN    0x00000002u
#define E1000_RCTL_UPE   0x00000008u /* frames for anybody */
#define E1000_RCTL_MPE   0x00000010u
#define E1000_RCTL_BAM   0x00008000u
#define E1000_RCTL_SECRC 0x04000000u /* without the checksum; all else 0: 2 KiB buffers */

#define E1000_TCTL_EN   0x00000002u
#define E1000_TCTL_PSP  0x00000008u /* short frames are padded */
#define E1000_TCTL_CT   0x000000f0u /* 15 attempts, and a slot of 64 bytes: full duplex */
#define E1000_TCTL_COLD 0x00040000u

#define E1000_TIPG_COPPER 0x00602008u

struct e1000_rx_descriptor {
    uint64_t address;
    uint16_t bytes;
    uint16_t checksum;
    uint8_t status;
    uint8_t errors;
    uint16_t special;
};
_Static_assert(sizeof(struct e1000_rx_descriptor) == 16, "legacy receive descriptor");

#define E1000_RX_DD  0x01u
#define E1000_RX_EOP 0x02u

struct e1000_tx_descriptor {
    uint64_t address;
    uint16_t bytes;
    uint8_t cso;
    uint8_t command;
    uint8_t status;
    uint8_t css;
    uint16_t special;
};
_Static_assert(sizeof(struct e1000_tx_descriptor) == 16, "legacy transmit descriptor");

#define E1000_TX_EOP  0x01u
#define E1000_TX_IFCS 0x02u /* the checksum at the end is made by the hardware */
#define E1000_TX_RS   0x08u /* it says when it is done */
#define E1000_TX_DD   0x01u

#endif
