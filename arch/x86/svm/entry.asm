; SPDX-License-Identifier: BSD-2-Clause
; The world switch: APM Vol. 2 15.5 "VMRUN Instruction".

%include "asm_offsets.inc"

        bits 64
        default rel

        section .text
        global svm_enter
        global svm_exited

; void svm_enter(struct guest_registers *regs, uint64_t vmcb, uint64_t host_vmcb)
;
; VMRUN switches RAX, RSP, RIP, RFLAGS, CR0-4, EFER, DR6-7, CS, SS, DS, ES, GDTR and IDTR; VMLOAD and
; VMSAVE switch FS, GS, TR, LDTR and the system call MSRs; the rest of the registers is moved here.
; With V_INTR_MASKING the host's IF at VMRUN decides whether a host interrupt ends the guest, so it
; is set, while GIF keeps the host from taking one: APM 15.21.1 "Physical (INTR) Interrupt Masking".
; GIF stays 0 until GS is the host's again, since an NMI handler needs it.
svm_enter:
        push    rbp
        mov     rbp, rsp
        push    rbx
        push    r12
        push    r13
        push    r14
        push    r15
        push    rdx                     ; host VMSAVE area
        push    rdi                     ; guest registers
        clgi
        sti
        mov     rax, rsi
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
        vmload
        vmrun
svm_exited:
        vmsave                          ; RAX is the VMCB again, RSP ours
        mov     rax, [rsp]
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
        mov     rax, [rsp + 8]
        vmload
        cli
        stgi
        ; Nothing of the guest's may be left to speculate with.
        xor     ecx, ecx
        xor     edx, edx
        xor     esi, esi
        xor     edi, edi
        xor     r8d, r8d
        xor     r9d, r9d
        xor     r10d, r10d
        xor     r11d, r11d
        add     rsp, 16
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbx
        pop     rbp
        ret
