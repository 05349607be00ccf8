; SPDX-License-Identifier: BSD-2-Clause
; Triple-faults: the VM has to fail with a dump, and nobody else may notice.
%include "bare.inc"

section .text
main:
        mov     esi, hello
        call    print
        lidt    [no_idt]
        int3
        mov     eax, 1              ; not reached
        ret

section .data
hello:  db "triple: going down", 10, 0
no_idt: dw 0
        dd 0
