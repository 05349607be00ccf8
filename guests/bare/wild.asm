; SPDX-License-Identifier: BSD-2-Clause
; Runs wild: every port but those that end it, reads of every MSR number in the ranges that anybody uses,
; random MSRs, random addresses that no memory owns.
; Unowned ports read all-ones, unknown MSRs give #GP, unowned addresses read all-ones; then it says
; PASS and ends well.  The host has to survive all of it.
%include "bare.inc"

MSR_ROUNDS  equ 3000
MMIO_ROUNDS equ 3000
PIC_VECTORS equ 32

section .text
main:
        mov     esi, hello
        call    print
        call    set_idt
        call    wild_ports
        call    read_msrs
        call    wild_msrs
        call    wild_mmio
        call    check_unowned
        test    eax, eax
        jnz     .bad
        mov     esi, pass
        call    print
        xor     eax, eax
        ret
.bad:   mov     esi, failed
        call    print
        mov     eax, 1
        ret

; Every exception goes to skip_fault, which leaves the instruction: EIP := [resume_at].
set_idt:
        mov     edi, idt
        mov     ecx, PIC_VECTORS
.gate:  mov     eax, skip_no_code
        mov     edx, PIC_VECTORS
        sub     edx, ecx
        bt      dword [code_vectors], edx
        jnc     .write
        mov     eax, skip_code
.write: mov     [edi], ax
        mov     word [edi + 2], 0x08
        mov     word [edi + 4], 0x8e00
        shr     eax, 16
        mov     [edi + 6], ax
        add     edi, 8
        loop    .gate
        lidt    [idt_pointer]
        ret

skip_code:
        add     esp, 4
skip_no_code:
        inc     dword [faults]
        push    eax
        mov     eax, [resume_at]
        mov     [esp + 4], eax
        pop     eax
        iretd

; CF if the port in EDX ends or resets the machine or is the serial port that we speak through.
owned_port:
        push    eax
        cmp     edx, STATUS_PORT - 3
        jb      .uart
        cmp     edx, STATUS_PORT + 1
        jb      .yes
.uart:  mov     eax, edx
        sub     eax, 0x3f8 - 3
        cmp     eax, 8 + 3
        jb      .yes
        mov     eax, edx
        sub     eax, 0x600          ; ACPI sleep and reset registers
        cmp     eax, 0x20
        jb      .yes
        cmp     edx, 0x64 - 3       ; keyboard controller: reset pulse
        jb      .cf9
        cmp     edx, 0x65
        jb      .yes
.cf9:   cmp     edx, 0xcf9 - 3
        jb      .a20
        cmp     edx, 0xcfa
        jb      .yes
.a20:   cmp     edx, 0x92 - 3       ; fast reset
        jb      .no
        cmp     edx, 0x93
        jb      .yes
.no:    pop     eax
        clc
        ret
.yes:   pop     eax
        stc
        ret

wild_ports:
        xor     edx, edx
.next:  call    owned_port
        jc      .skip
        in      al, dx
        call    random
        out     dx, al
        test    dl, 0x1c
        jnz     .skip
        in      eax, dx
        call    random
        out     dx, ax
.skip:  inc     edx
        cmp     edx, 0x10000
        jb      .next
        ret

; Each answers or gives #GP; says how many answer.
read_msrs:
        mov     dword [resume_at], .resume
        mov     dword [faults], 0
        xor     ebp, ebp
        mov     esi, msr_ranges
.range: mov     ecx, [esi]
.next:  rdmsr
.resume:
        inc     ebp
        inc     ecx
        cmp     ecx, [esi + 4]
        jne     .next
        add     esi, 8
        cmp     esi, msr_ranges_end
        jne     .range
        mov     esi, text_wild
        call    print
        mov     eax, ebp
        sub     eax, [faults]
        call    print_decimal
        mov     esi, text_of
        call    print
        mov     eax, ebp
        call    print_decimal
        mov     esi, text_msrs
        jmp     print

wild_msrs:
        mov     dword [resume_at], .resume
        mov     ebp, MSR_ROUNDS
.next:  call    random
        mov     ecx, eax
        bt      ebp, 0
        jc      .any
        and     ecx, 0xc0011fff     ; the ranges that exist
.any:   cmp     ecx, 0x1b           ; the APIC base may move: not this one
        je      .resume
        rdmsr
        call    random
        mov     edx, eax
        call    random
        cmp     ecx, 0xc0000080     ; EFER: read only
        je      .resume
        cmp     ecx, 0x830          ; ICR: an INIT to ourselves would end us
        je      .resume
        cmp     ecx, 0x10           ; the TSC and its deadline are harmless, the rest as well
        wrmsr
.resume:
        dec     ebp
        jnz     .next
        ret

; Paging is off: these are physical addresses, above the 128 MiB that we have at most.
wild_mmio:
        mov     ebp, MMIO_ROUNDS
.next:  call    random
        and     eax, 0x7ffffffc
        or      eax, 0x80000000
        cmp     eax, 0xfee00000     ; the local APIC
        jb      .do
        cmp     eax, 0xfee01000
        jb      .skip
.do:    mov     edi, eax
        mov     ecx, [edi]
        mov     [edi], eax
        or      [edi], eax
        xchg    [edi], eax
        movzx   ebx, byte [edi]
        mov     [edi + 1], al
        add     [edi], cx
.skip:  dec     ebp
        jnz     .next
        ret

; EAX: 0 if what nobody owns reads all-ones and an unknown MSR gives #GP.
check_unowned:
        mov     edx, 0x5000
        in      eax, dx
        inc     eax
        jnz     .bad
        mov     eax, [0xa0000000]    ; above memory, below PCI
        inc     eax
        jnz     .bad
        mov     dword [faults], 0
        mov     dword [resume_at], .after
        mov     ecx, 0x12345
        rdmsr
.after: cmp     dword [faults], 1
        jne     .bad
        xor     eax, eax
        ret
.bad:   mov     eax, 1
        ret

section .data
hello:  db "wild: running wild", 10, 0
pass:   db "wild: PASS", 10, 0
failed: db "wild: FAIL: an unowned port, address or MSR did not answer as hardware does", 10, 0
text_wild: db "wild: ", 0
text_of:   db " of ", 0
text_msrs: db " MSR numbers answer", 10, 0
align 4
; First, and the one behind the last: Intel's and AMD's, x2APIC among them; what hypervisors add.
msr_ranges:
        dd 0, 0x2000
        dd 0x40000000, 0x40000110
        dd 0x4b564d00, 0x4b564e00
        dd 0xc0000000, 0xc0002000
        dd 0xc0010000, 0xc0012000
msr_ranges_end:
code_vectors: dd 0x00027d00         ; #DF #TS #NP #SS #GP #PF #AC push an error code
faults:       dd 0
resume_at:    dd 0
idt_pointer:  dw PIC_VECTORS * 8 - 1
              dd idt

section .bss
align 8
idt:    resb PIC_VECTORS * 8
