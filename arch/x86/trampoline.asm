; SPDX-License-Identifier: BSD-2-Clause
; What a started CPU executes first: real mode, CS:IP = page:0.  smp.c copies it to the page and
; fills in struct trampoline (trampoline.h) at its end.
;
; Real mode goes straight to long mode: with CR4.PAE, CR3 and EFER.LME set, one write to CR0 turns on
; protection and paging (AMD APM Vol. 2 14.6.1 "Activating Long Mode").

        %include "asm_offsets.inc"

        global trampoline_start
        global trampoline_end
        global trampoline_long_mode

        section .rodata
        align 16

        bits 16
trampoline_start:
        cli
        cld
        mov     ax, cs
        mov     ds, ax
        xor     eax, eax
        xchg    eax, [TRAMPOLINE_CLAIM]
        test    eax, eax
        jz      trampoline_late
        o32 lgdt [TRAMPOLINE_GDT_LIMIT]
        mov     eax, [TRAMPOLINE_CR4]
        mov     cr4, eax
        mov     eax, [TRAMPOLINE_PAGE_TABLE]
        mov     cr3, eax
        mov     ecx, 0xc0000080         ; EFER
        mov     eax, [TRAMPOLINE_EFER]
        xor     edx, edx
        wrmsr
        mov     eax, [TRAMPOLINE_CR0]
        mov     cr0, eax
        jmp     far dword [TRAMPOLINE_FAR_POINTER]

trampoline_late:                        ; given up: the tables and the stack are no longer its own
        hlt
        jmp     trampoline_late

        bits 64
trampoline_long_mode:
        mov     eax, SELECTOR_DATA_VALUE
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        lea     rbx, [rel trampoline_start]
        mov     rsp, [rbx + TRAMPOLINE_STACK]
        mov     rdi, [rbx + TRAMPOLINE_PERCPU]
        mov     rax, [rbx + TRAMPOLINE_ENTRY]
        xor     ebp, ebp
        call    rax
        ud2
trampoline_end:

        section .note.GNU-stack noalloc noexec nowrite progbits
