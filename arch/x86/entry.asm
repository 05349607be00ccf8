; SPDX-License-Identifier: BSD-2-Clause
; First instruction of the hypervisor; state as boot/handover.h says.  RDI: struct handover.

        bits 64
        default rel

        extern arch_start
        extern boot_stack_top
        global arch_entry

        section .text.entry exec

arch_entry:
        cli
        cld
        mov     rsp, boot_stack_top
        push    2                       ; RFLAGS: all clear, AC too, or SMAP would be off
        popfq
        xor     ebp, ebp                ; a backtrace ends here
        call    arch_start
        ud2

        section .note.GNU-stack noalloc noexec nowrite progbits
