; SPDX-License-Identifier: BSD-2-Clause
; Touches some memory, whose end then takes a while, and resets its machine, for ever.
%include "bare.inc"

section .text
main:
        mov     eax, 4 << 20
.touch: mov     [eax], eax
        add     eax, 4096
        cmp     eax, 124 << 20
        jb      .touch
        mov     edx, 0xcf9          ; reset control register: PIIX and ICH
        mov     al, 2
        out     dx, al
        mov     al, 6
        out     dx, al
.wait:  pause
        jmp     .wait
