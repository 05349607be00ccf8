; SPDX-License-Identifier: BSD-2-Clause
; Sleeps with its interrupts off: whatever it is asked, it does not hear.  One interrupt is pending all
; the time, which must not keep its CPU busy.
%include "bare.inc"

APIC_SVR equ 0xfee000f0
APIC_ICR equ 0xfee00300
ICR_SELF equ 0x00044040             ; vector 0x40, edge, to itself

section .text
main:
        mov     esi, hello
        call    print
        cli
        mov     dword [APIC_SVR], 0x1ff
        mov     dword [APIC_ICR], ICR_SELF
.sleep: hlt
        jmp     .sleep

section .data
hello:  db "deaf: asleep", 10, 0
