/* SPDX-License-Identifier: BSD-2-Clause */
/* The hypervisor's ELF file, carried by the loader. */
    .section .rodata
    .balign 16
    .global payload_start, payload_end
    .hidden payload_start, payload_end
payload_start:
    .incbin PAYLOAD
payload_end:
    .section .note.GNU-stack, "", @progbits
