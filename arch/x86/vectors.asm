; SPDX-License-Identifier: BSD-2-Clause
; Entry points of the 256 vectors.  Each pushes its number (and a zero where the CPU pushes no error
; code) and ends in one common tail that saves the registers as struct interrupt_frame (idt.h).
; Interrupts come from ring 0 only and GS is always the hypervisor's, so there is no SWAPGS.

        bits 64
        default rel

        %include "asm_offsets.inc"

        extern interrupt_dispatch
        extern svm_exited
        global interrupt_entry

        section .text

; Exceptions with an error code: cpu.h, VECTORS_WITH_ERROR_CODE.
%define HAS_ERROR_CODE(v) (((v) == 8) || ((v) >= 10 && (v) <= 14) || ((v) == 17) || ((v) == 21) || ((v) == 29) || ((v) == 30))

; Bochs 2.7 keeps a guest's single-step trap over a #VMEXIT and delivers it to the host at its first
; instruction, where GS is still the guest's.  A CPU does not (APM Vol. 2 15.17 "Global Interrupt Flag":
; a trap by a breakpoint is ignored while GIF is 0, and TF is the host's).  There is nothing to be done about it.
%macro IGNORE_GUESTS_TRAP 0
        push    rax
        lea     rax, [svm_exited]
        cmp     rax, [rsp + 8]
        pop     rax
        jne     %%ours
        iretq
%%ours:
%endmacro

%assign vector 0
%rep 256
interrupt_entry_ %+ vector:
    %if vector = 1
        IGNORE_GUESTS_TRAP
    %endif
    %if !HAS_ERROR_CODE(vector)
        push    0
    %endif
        push    strict dword vector
        jmp     interrupt_common
    %assign vector vector + 1
%endrep

interrupt_common:
        cld
        push    rax
        push    rbx
        push    rcx
        push    rdx
        push    rsi
        push    rdi
        push    rbp
        push    r8
        push    r9
        push    r10
        push    r11
        push    r12
        push    r13
        push    r14
        push    r15
        ; A frame for the backtrace: RBP points at a saved RBP and a return address.
        mov     rdi, rsp
        mov     rax, [rsp + FRAME_RIP]
        push    rax
        push    rbp
        mov     rbp, rsp
        ; 22 + 2 slots below a stack that the CPU aligned to 16.
        call    interrupt_dispatch
        add     rsp, 16
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     r11
        pop     r10
        pop     r9
        pop     r8
        pop     rbp
        pop     rdi
        pop     rsi
        pop     rdx
        pop     rcx
        pop     rbx
        pop     rax
        add     rsp, 16                 ; vector and error code
        iretq

        section .rodata
        align 8
interrupt_entry:
%assign vector 0
%rep 256
        dq      interrupt_entry_ %+ vector
    %assign vector vector + 1
%endrep

        section .note.GNU-stack noalloc noexec nowrite progbits
