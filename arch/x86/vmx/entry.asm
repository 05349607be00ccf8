; SPDX-License-Identifier: BSD-2-Clause
; The world switch: SDM Vol. 3C chapters 26 "VM Entries" and 27 "VM Exits".

%include "asm_offsets.inc"

        bits 64
        default rel

        section .text
        global vmx_enter
        global vmx_exit_point

; unsigned vmx_enter(struct guest_registers *regs, bool launched)
;
; Entries and exits switch RSP, RIP, RFLAGS, CR0, CR3, CR4, EFER, PAT, DR7, segments and tables; the
; general registers are moved here, CR2 by the caller.
vmx_enter:
        push    rbp
        mov     rbp, rsp
        push    rbx
        push    r12
        push    r13
        push    r14
        push    r15
        push    rdi                     ; guest registers
        mov     eax, VMCS_HOST_RSP_FIELD
        vmwrite rax, rsp
        jbe     .failed
        test    sil, sil                ; MOV leaves the flags alone
        mov     rax, [rdi + GUEST_RAX]
        mov     rcx, [rdi + GUEST_RCX]
        mov     rdx, [rdi + GUEST_RDX]
        mov     rbx, [rdi + GUEST_RBX]
        mov     rbp, [rdi + GUEST_RBP]
        mov     rsi, [rdi + GUEST_RSI]
        mov     r8, [rdi + GUEST_R8]
        mov     r9, [rdi + GUEST_R9]
        mov     r10, [rdi + GUEST_R10]
        mov     r11, [rdi + GUEST_R11]
        mov     r12, [rdi + GUEST_R12]
        mov     r13, [rdi + GUEST_R13]
        mov     r14, [rdi + GUEST_R14]
        mov     r15, [rdi + GUEST_R15]
        mov     rdi, [rdi + GUEST_RDI]
        jnz     .resume
        vmlaunch
        jmp     .failed
.resume:
        vmresume
.failed:
        add     rsp, 8
        mov     eax, 1
        jmp     vmx_leave

vmx_exit_point:
        xchg    rax, [rsp]              ; guest registers against guest RAX
        mov     [rax + GUEST_RCX], rcx
        mov     [rax + GUEST_RDX], rdx
        mov     [rax + GUEST_RBX], rbx
        mov     [rax + GUEST_RBP], rbp
        mov     [rax + GUEST_RSI], rsi
        mov     [rax + GUEST_RDI], rdi
        mov     [rax + GUEST_R8], r8
        mov     [rax + GUEST_R9], r9
        mov     [rax + GUEST_R10], r10
        mov     [rax + GUEST_R11], r11
        mov     [rax + GUEST_R12], r12
        mov     [rax + GUEST_R13], r13
        mov     [rax + GUEST_R14], r14
        mov     [rax + GUEST_R15], r15
        pop     qword [rax + GUEST_RAX]
        xor     eax, eax
vmx_leave:
        ; Nothing of the guest's may be left to speculate with.
        xor     ecx, ecx
        xor     edx, edx
        xor     esi, esi
        xor     edi, edi
        xor     r8d, r8d
        xor     r9d, r9d
        xor     r10d, r10d
        xor     r11d, r11d
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbx
        pop     rbp
        ret
