; SPDX-License-Identifier: BSD-2-Clause
; Sleeps with its interrupts off: whatever it is asked, it does not hear.
%include "bare.inc"

section .text
main:
        mov     esi, hello
        call    print
        cli
.sleep: hlt
        jmp     .sleep

section .data
hello:  db "deaf: asleep", 10, 0
