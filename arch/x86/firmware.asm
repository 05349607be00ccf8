; SPDX-License-Identifier: BSD-2-Clause
; void firmware_reset(uint64_t page_table, uint64_t function, uint64_t type)
;
; Calls EFI ResetSystem(type, EFI_SUCCESS, 0, NULL) under the firmware's identity map, in the
; Microsoft calling convention.  Returns, with our own page table back, if the firmware does.

        bits 64
        default rel

        global firmware_reset

        section .text

firmware_reset:
        push    rbp
        mov     rbp, rsp
        push    rbx
        push    r12
        mov     rbx, cr3
        mov     r12, rsp
        ; A stack of the image: the tables of the firmware know no other of ours.
        lea     rsp, [firmware_stack_top]
        mov     cr3, rdi
        mov     rax, rsi
        mov     rcx, rdx
        xor     edx, edx
        xor     r8d, r8d
        xor     r9d, r9d
        sub     rsp, 32                 ; home space of the four parameters
        call    rax
        cli
        cld
        mov     cr3, rbx
        mov     rsp, r12
        pop     r12
        pop     rbx
        pop     rbp
        ret

        section .bss
        alignb 16
        resb 16384
firmware_stack_top:

        section .note.GNU-stack noalloc noexec nowrite progbits
