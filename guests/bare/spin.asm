; SPDX-License-Identifier: BSD-2-Clause
; Keeps its CPU busy for ever, in the way that its command line names.  Whatever it does, the monitor has to
; answer, another guest has to get its share, and `kill` has to end it.  IF is 0 unless a way sets it.
%include "bare.inc"

NOBODYS_PORT equ 0x5000
NOBODYS_PAGE equ 0xc0000000
AREA         equ 4 << 20            ; memory to copy in
APIC_EOI     equ 0xfee000b0
APIC_SVR     equ 0xfee000f0
APIC_ICR     equ 0xfee00300
APIC_ICR2    equ 0xfee00310
APIC_LVT     equ 0xfee00320         ; timer
APIC_COUNT   equ 0xfee00380
APIC_DIVIDE  equ 0xfee003e0
PERIODIC     equ 1 << 17
VECTOR_SELF  equ 0x40
ICR_NMI      equ 0x4400             ; to APIC id 0: us
ICR_INIT     equ 0x4500             ; to the APIC id in ICR2
ICR_SELF     equ 0x44000 + VECTOR_SELF

%macro WAY 1                        ; begins the code for that word
    %defstr %%text %1
section .data.ways write alloc noexec progbits
        dd      name_ %+ %1, way_ %+ %1
section .data
name_ %+ %1: db %%text, 0
section .text
way_ %+ %1:
%endmacro

section .data.ways write alloc noexec progbits
ways:

section .text
main:
        mov     esi, hello
        call    print
        mov     ebp, ways
.find:  mov     eax, [boot_info]
        mov     esi, [eax + 16]     ; command line
        mov     edi, [ebp]
        test    edi, edi
        jz      .unknown
        call    starts_with
        je      .found
        add     ebp, 8
        jmp     .find
.found: mov     esi, [ebp]
        call    print
        mov     al, 10
        call    print_char
        call    set_events
        jmp     [ebp + 4]
.unknown:
        mov     esi, unknown
        call    print
        mov     eax, 1
        ret

; ---- without an exit ----

WAY cli
        jmp     $

WAY sti
        sti
        jmp     $

WAY again
        cli
        jmp     way_again

WAY flip                            ; IF is 1 in a shadow only
        sti
        cli
        jmp     way_flip

WAY shadow                          ; of MOV SS, nearly always
        sti
        mov     eax, ss
.next:
    %rep 512
        mov     ss, eax
    %endrep
        jmp     .next

WAY movs
        mov     esi, AREA
        mov     edi, 2 * AREA
        mov     ecx, AREA / 4
        rep movsd
        jmp     way_movs

WAY ud                              ; an exception whose handler raises it again
        mov     eax, .handler
        mov     ecx, 6
        call    set_event
.handler:
        mov     esp, stack_top
        ud2

; ---- exits without end ----

WAY cpuid
        xor     eax, eax
        cpuid
        jmp     way_cpuid

WAY port
        mov     edx, NOBODYS_PORT
        in      al, dx
        jmp     way_port

WAY outs
        mov     edx, NOBODYS_PORT
        mov     esi, AREA
        mov     ecx, AREA
        rep outsb
        jmp     way_outs

WAY mmio
        mov     eax, [NOBODYS_PAGE]
        jmp     way_mmio

WAY pause
        pause
        jmp     way_pause

WAY hlt
        hlt
        jmp     way_hlt

WAY wbinvd
        wbinvd
        jmp     way_wbinvd

WAY mwait                           ; guests do not have it: #UD each time
        mov     dword [resume_at], .wait
        mov     eax, AREA
        xor     ecx, ecx
        xor     edx, edx
        monitor
.wait:  mov     dword [resume_at], way_mwait
        xor     eax, eax
        mwait
        jmp     way_mwait

WAY step                            ; #DB after each instruction
        pushfd
        or      dword [esp], 0x100
        popfd
        jmp     $

WAY nmi                             ; its handler sends the next one
        mov     dword [APIC_ICR], ICR_NMI
        jmp     $

WAY self                            ; an interrupt whose handler sends the next one
        mov     dword [APIC_SVR], 0x1ff
        mov     dword [APIC_ICR], ICR_SELF
        sti
        jmp     $

WAY timer                           ; an APIC timer that is always due
        mov     dword [APIC_SVR], 0x1ff
        mov     dword [APIC_DIVIDE], 0xb
        mov     dword [APIC_LVT], PERIODIC + VECTOR_SELF
        mov     dword [APIC_COUNT], 1
        jmp     $

WAY init                            ; the other vCPU waits for a SIPI that never comes
        mov     dword [APIC_ICR2], 1 << 24
        mov     dword [APIC_ICR], ICR_INIT
        jmp     way_init

; ---- delivering an exception raises the next one ----

; In ring 3, on a stack that is not aligned, with a handler in ring 3.
WAY ac
        lgdt    [gdt_rings_pointer]
        mov     eax, way_spin
        mov     ecx, 17
        call    set_event
        mov     word [idt + 17 * 8 + 2], 0x1b
        mov     word [idt + 17 * 8 + 4], 0xee00
        mov     eax, cr0
        or      eax, 1 << 18        ; AM
        mov     cr0, eax
        push    dword 0x23
        push    dword stack3_top - 2
        push    dword 0x40002       ; AC
        push    dword 0x1b
        push    dword .ring3
        iretd
.ring3: push    eax
way_spin:
        jmp     $

; A watchpoint where the CPU pushes the frame of the #DB: in long mode, whose IST resets the stack.
WAY db
        call    enter_long_mode
        mov     eax, on_debug64
        mov     [idt64 + 16], ax
        shr     eax, 16
        mov     [idt64 + 16 + 6], ax
        mov     eax, tss64
        mov     [gdt_rings.tss + 2], ax
        shr     eax, 16
        mov     [gdt_rings.tss + 4], al
        lgdt    [gdt_rings_pointer]
        lidt    [idt64_pointer]
        jmp     0x28:.in64
bits 64
.in64:  mov     ax, 0x30
        ltr     ax
        mov     eax, ist_top - 8
        mov     dr0, rax
        mov     ecx, 0x90402        ; G0: 8 bytes written
        mov     dr7, rcx
        mov     [rax], rcx
on_debug64:
        jmp     $
bits 32

; Identity map of 1 GiB.
enter_long_mode:
        mov     eax, 0x83
        mov     edi, directory
        mov     ecx, 512
.page:  mov     [edi], eax
        add     eax, 0x200000
        add     edi, 8
        loop    .page
        mov     dword [pdpt], directory + 3
        mov     dword [pml4], pdpt + 3
        mov     eax, cr4
        or      eax, 1 << 5
        mov     cr4, eax
        mov     eax, pml4
        mov     cr3, eax
        mov     ecx, 0xc0000080
        rdmsr
        or      eax, 1 << 8
        wrmsr
        mov     eax, cr0
        or      eax, 1 << 31
        mov     cr0, eax
        ret

; ---- events ----

set_events:
        mov     eax, on_debug
        mov     ecx, 1
        call    set_event
        mov     eax, on_nmi
        inc     ecx
        call    set_event
        mov     eax, on_undefined
        mov     ecx, 6
        call    set_event
        mov     eax, on_self
        mov     ecx, VECTOR_SELF
        call    set_event
        lidt    [idt_pointer]
        ret

; ECX vector, EAX handler.
set_event:
        mov     [idt + ecx * 8], ax
        mov     word [idt + ecx * 8 + 2], 0x08
        mov     word [idt + ecx * 8 + 4], 0x8e00
        shr     eax, 16
        mov     [idt + ecx * 8 + 6], ax
        ret

on_undefined:
        push    eax
        mov     eax, [resume_at]
        mov     [esp + 4], eax
        pop     eax
on_debug:
        iretd

on_nmi: mov     dword [APIC_ICR], ICR_NMI
        iretd

on_self:
        mov     dword [APIC_EOI], 0
        mov     dword [APIC_ICR], ICR_SELF
        iretd

section .data.ways write alloc noexec progbits
        dd      0

section .data
hello:     db "spin: ", 0
unknown:   db "expected a way to spin", 10, 0
resume_at: dd 0
align 8
gdt_rings:
        dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
        dq 0x00af9b000000ffff
.tss:   dw 103, 0, 0x8900, 0        ; tss64
        dq 0
gdt_rings_pointer:
        dw $ - gdt_rings - 1
        dd gdt_rings, 0
idt_pointer:
        dw (VECTOR_SELF + 1) * 8 - 1
        dd idt
align 16
idt64:  dq 0, 0
        dw 0, 0x28, 0x8e01, 0       ; on_debug64, IST 1
        dd 0, 0
idt64_pointer:
        dw $ - idt64 - 1
        dd idt64, 0
align 8
tss64:  times 9 dd 0
        dd ist_top, 0               ; IST 1
        times 15 dd 0

section .bss
alignb 4096
directory:  resb 4096
pdpt:       resb 4096
pml4:       resb 4096
idt:        resb (VECTOR_SELF + 1) * 8
alignb 16
            resb 4096
stack3_top:
            resb 4096
ist_top:
