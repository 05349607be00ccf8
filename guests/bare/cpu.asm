; SPDX-License-Identifier: BSD-2-Clause
; What a guest may expect of its CPU, and where virtualisation shows if it is not careful: control
; registers, instructions that guests do not have, debug exceptions, delivery of events through pages
; that are not there yet, NMI blocking, interrupt shadows, PAE and long mode, CR8.
; Prints `cpu: NAME` for each check that fails, then `cpu: PASS` or `cpu: FAIL`.
%include "bare.inc"

VECTORS     equ 0x50
VECTOR_SELF equ 0x40                ; interrupts that we send ourselves
APIC_EOI    equ 0xfee000b0
APIC_SVR    equ 0xfee000f0
APIC_ICR    equ 0xfee00300
ICR_NMI     equ 0x4400              ; to APIC id 0: us (the shorthand "self" is for fixed ones only)
ICR_SELF    equ 0x44000 + VECTOR_SELF

CR0_NE equ 1 << 5
CR0_NW equ 1 << 29
CR0_CD equ 1 << 30
CR0_PG equ 1 << 31

FRESH  equ 0x1400000                ; 20 MiB and on: pages that nobody has touched

%macro CHECK 1                      ; ZF: good; else names the check that failed
        jz      %%good
        mov     esi, %%name
        call    failed
        jmp     %%good
%%name: db %1, 0
%%good:
%endmacro

%macro FAULTS 3+                    ; name, vector, instruction that must raise it
        mov     dword [resume_at], %%after
        mov     dword [seen], -1
        %3
%%after:
        cmp     dword [seen], %2
        CHECK   %1
%endmacro

section .text
main:
        call    set_idt
        lidt    [idt_pointer]
        call    control_registers
        call    absent_instructions
        call    debug_exceptions
        call    fresh_pages
        call    interrupts
        call    nmis
        call    pae
        call    long_mode
        mov     esi, text_pass
        cmp     dword [failures], 0
        je      .say
        mov     esi, text_fail
.say:   call    print
        mov     eax, [failures]
        ret

; ESI: what failed.
failed:
        inc     dword [failures]
        push    esi
        mov     esi, text_cpu
        call    print
        pop     esi
        call    print
        mov     al, ' '
        call    print_char
        mov     eax, [seen]
        call    print_hex
        mov     al, 10
        jmp     print_char

; ---- exceptions and interrupts ----

set_idt:
        xor     ecx, ecx
.gate:  mov     eax, [stubs + ecx * 4]
        mov     [idt + ecx * 8], ax
        mov     word [idt + ecx * 8 + 2], 0x08
        mov     word [idt + ecx * 8 + 4], 0x8e00
        shr     eax, 16
        mov     [idt + ecx * 8 + 6], ax
        inc     ecx
        cmp     ecx, VECTORS
        jb      .gate
        ret

%assign v 0
%rep VECTORS
stub_ %+ v:
    %if v == 8 || (v >= 10 && v <= 14) || v == 17
        add     esp, 4              ; the error code
    %endif
        push    dword v
        jmp     on_event
    %assign v v + 1
%endrep

; ESP: EAX, vector, EIP, CS, EFLAGS.  Goes on at [resume_at] if that is not 0.
on_event:
        push    eax
        mov     eax, [esp + 4]
        mov     [seen], eax
        inc     dword [events]
        cmp     eax, 1
        je      .debug
        cmp     eax, 2
        je      .nmi
        cmp     eax, VECTOR_SELF
        jne     .resume
        mov     dword [APIC_EOI], 0
        jmp     .resume
.debug: mov     eax, dr6
        mov     [seen_dr6], eax
        mov     eax, 0xffff0ff0
        mov     dr6, eax
        mov     eax, 0x400
        mov     dr7, eax
        and     dword [esp + 16], ~0x100
        jmp     .resume
.nmi:   inc     dword [nmi_count]
        cmp     dword [nmi_count], 1
        jne     .resume
        mov     dword [APIC_ICR], ICR_NMI       ; must wait for our IRET
        pushad
        mov     ecx, 100
.wait:  push    ecx
        xor     eax, eax
        cpuid
        pop     ecx
        loop    .wait
        popad
        mov     eax, [nmi_count]
        mov     [nmi_nested], eax
.resume:
        mov     eax, [resume_at]
        test    eax, eax
        jz      .done
        mov     [esp + 8], eax
        mov     dword [resume_at], 0
.done:  pop     eax
        add     esp, 4
        iretd

; ---- control registers ----

control_registers:
        mov     eax, cr0
        mov     ebx, eax
        or      eax, CR0_CD | CR0_NW
        mov     cr0, eax
        mov     ecx, cr0
        mov     cr0, ebx
        cmp     eax, ecx
        CHECK   "CR0: CD and NW read as written"
        mov     eax, ebx
        xor     eax, CR0_NE
        mov     cr0, eax
        mov     ecx, cr0
        mov     cr0, ebx
        cmp     eax, ecx
        CHECK   "CR0: NE reads as written"
        mov     ecx, cr0
        cmp     ebx, ecx
        CHECK   "CR0 as before"
        mov     eax, ebx
        and     eax, ~CR0_CD
        or      eax, CR0_NW
        FAULTS  "CR0: NW without CD", 13, mov cr0, eax
        mov     eax, ebx
        and     eax, ~1
        or      eax, CR0_PG
        FAULTS  "CR0: PG without PE", 13, mov cr0, eax

        mov     ebx, cr4
        mov     eax, ebx
        xor     eax, 1 << 6
        mov     cr4, eax
        mov     ecx, cr4
        mov     cr4, ebx
        cmp     eax, ecx
        CHECK   "CR4: MCE reads as written"
        mov     eax, ebx
        or      eax, 1 << 13
        FAULTS  "CR4: VMXE", 13, mov cr4, eax
        mov     eax, ebx
        or      eax, 1 << 31
        FAULTS  "CR4: reserved bit", 13, mov cr4, eax
        mov     eax, cr4
        cmp     eax, ebx
        CHECK   "CR4 as before"

        mov     ecx, 0xc0000080
        rdmsr
        test    eax, 1 << 12
        CHECK   "EFER: SVME is hidden"
        or      eax, 1 << 12
        FAULTS  "EFER: SVME", 13, wrmsr

        clts
        mov     eax, cr0
        test    eax, 8
        CHECK   "CLTS"
        smsw    ax
        or      ax, 8
        lmsw    ax
        mov     eax, cr0
        not     eax
        test    eax, 8
        CHECK   "LMSW sets TS"
        clts

        mov     eax, 1
        cpuid
        bt      ecx, 26             ; XSAVE
        jnc     .done
        mov     eax, cr4
        or      eax, 1 << 18
        mov     cr4, eax
        mov     eax, 1
        cpuid
        not     ecx
        bt      ecx, 27             ; OSXSAVE follows CR4
        sbb     eax, eax
        CHECK   "CPUID: OSXSAVE"
        xor     ecx, ecx
        xgetbv
        cmp     eax, 1
        CHECK   "XCR0 after reset"
        mov     eax, 3
        xor     edx, edx
        xsetbv
        xgetbv
        cmp     eax, 3
        CHECK   "XSETBV"
        mov     eax, 2
        FAULTS  "XSETBV without x87", 13, xsetbv
        mov     eax, 1
        xsetbv
.done:  ret

absent_instructions:
        xor     ecx, ecx
        xor     eax, eax
        xor     edx, edx
        FAULTS  "RDPMC", 13, rdpmc
        FAULTS  "MONITOR", 6, monitor
        FAULTS  "MWAIT", 6, mwait
        FAULTS  "VMRUN", 6, vmrun
        FAULTS  "VMLOAD", 6, vmload
        FAULTS  "VMSAVE", 6, vmsave
        FAULTS  "CLGI", 6, clgi
        FAULTS  "STGI", 6, stgi
        FAULTS  "INVLPGA", 6, invlpga
        FAULTS  "VMXON", 6, vmxon [vmxon_region]
        FAULTS  "VMPTRLD", 6, vmptrld [vmxon_region]
        FAULTS  "VMXOFF", 6, vmxoff
        FAULTS  "RSM", 6, rsm
        FAULTS  "UD2", 6, ud2
        invd
        wbinvd
        xor     eax, eax
        ret

; ---- debug registers and exceptions ----

debug_exceptions:
        mov     dword [seen], -1
        pushfd
        or      dword [esp], 0x100
        popfd
        cpuid                       ; an exit between two steps
        cmp     dword [seen], 1
        CHECK   "single step"
        mov     eax, [seen_dr6]
        and     eax, 0x400f
        cmp     eax, 0x4000
        CHECK   "single step: DR6"

        mov     eax, .here
        mov     dr0, eax
        mov     eax, 0x12345678
        mov     dr3, eax
        mov     eax, 0x402          ; G0, execution
        mov     dr7, eax
        mov     dword [seen], -1
        xor     eax, eax
        cpuid
.here:  nop
        cmp     dword [seen], 1
        CHECK   "breakpoint"
        mov     eax, [seen_dr6]
        and     eax, 0x400f
        cmp     eax, 1
        CHECK   "breakpoint: DR6"
        mov     eax, word_watched
        mov     dr1, eax
        mov     eax, 0xd00408       ; G1, 4 bytes written
        mov     dr7, eax
        mov     dword [seen], -1
        mov     dword [word_watched], 1
        nop
        cmp     dword [seen], 1
        CHECK   "watchpoint"
        mov     eax, dr3
        cmp     eax, 0x12345678
        CHECK   "DR3 is kept"
        mov     eax, dr7
        cmp     eax, 0x400
        CHECK   "DR7 is kept"
        ret

; ---- delivery through pages that are not there: none is lost, none comes twice ----

%macro FRESH_STACK 0                ; ESP: the end of a page never touched before
        mov     [saved_esp], esp
        add     dword [fresh], 0x201000 ; beyond what is filled ahead
        mov     esp, [fresh]
%endmacro

%macro DELIVERED 2                  ; name, vector
        mov     esp, [saved_esp]
        cmp     dword [seen], %2
        CHECK   %1
        cmp     dword [events], 1
        CHECK   {%1, " once"}
%endmacro

fresh_pages:
        mov     dword [events], 0
        FRESH_STACK
        int     0x30
        DELIVERED "INT n on a fresh stack", 0x30
        mov     dword [events], 0
        FRESH_STACK
        int3
        DELIVERED "INT3 on a fresh stack", 3
        mov     dword [events], 0
        FRESH_STACK
        mov     dword [resume_at], .after_ud
        ud2
.after_ud:
        DELIVERED "#UD on a fresh stack", 6
        mov     dword [events], 0
        FRESH_STACK
        mov     dword [resume_at], .after_gp
        mov     ecx, 0x12345
        rdmsr                       ; injected by the hypervisor
.after_gp:
        DELIVERED "injected #GP on a fresh stack", 13
        mov     dword [APIC_SVR], 0x1ff
        mov     dword [events], 0
        FRESH_STACK
        mov     dword [APIC_ICR], ICR_SELF
        sti
        nop
        nop
        cli
        DELIVERED "interrupt on a fresh stack", VECTOR_SELF
        mov     dword [events], 0
        FRESH_STACK
        mov     dword [nmi_count], 5
        mov     dword [APIC_ICR], ICR_NMI
        nop
        DELIVERED "NMI on a fresh stack", 2
        ret

; ---- interrupts ----

interrupts:
        mov     dword [events], 0
        mov     dword [seen], -1
        mov     dword [APIC_ICR], ICR_SELF
        cpuid
        cmp     dword [events], 0
        CHECK   "IF holds back"
        xor     ebx, ebx
        sti
        mov     ebx, [events]       ; in the shadow of STI
        nop
        cli
        test    ebx, ebx
        CHECK   "STI shadow"
        cmp     dword [events], 1
        CHECK   "STI lets in"
        mov     dword [events], 0
        mov     dword [APIC_ICR], ICR_SELF
        sti
        hlt
        cli
        cmp     dword [events], 1
        CHECK   "STI, HLT with an interrupt pending"
        mov     ax, ss
        mov     dword [events], 0
        mov     dword [APIC_ICR], ICR_SELF
        pushfd
        or      dword [esp], 0x200
        popfd
        nop
        cli
        cmp     dword [events], 1
        CHECK   "POPF lets in"
        ret

nmis:
        mov     dword [nmi_count], 0
        mov     dword [APIC_ICR], ICR_NMI
        mov     ecx, 1000
.wait:  push    ecx
        xor     eax, eax
        cpuid
        pop     ecx
        cmp     dword [nmi_count], 2
        loopne  .wait
        cmp     dword [nmi_nested], 1
        CHECK   "NMI is blocked in its handler"
        cmp     dword [nmi_count], 2
        CHECK   "NMI after IRET"
        ret

; ---- paging ----

; Identity map of 4 GiB by 2 MiB pages, under PAE and under long mode.
build_tables:
        mov     eax, 0x83
        mov     edi, directories
        mov     ecx, 4 * 512
.page:  mov     [edi], eax
        mov     dword [edi + 4], 0
        add     eax, 0x200000
        add     edi, 8
        loop    .page
        mov     eax, directories
        xor     ecx, ecx
.table: lea     edx, [eax + 1]
        mov     [pdpt_pae + ecx * 8], edx
        lea     edx, [eax + 3]
        mov     [pdpt + ecx * 8], edx
        add     eax, 4096
        inc     ecx
        cmp     ecx, 4
        jb      .table
        mov     dword [pml4], pdpt + 3
        ret

pae:
        call    build_tables
        mov     eax, cr0
        mov     [saved_cr0], eax
        mov     eax, cr4
        or      eax, 1 << 5
        mov     cr4, eax
        mov     eax, pdpt_pae
        mov     cr3, eax
        mov     eax, [saved_cr0]
        or      eax, CR0_PG
        xor     eax, CR0_NE         ; with a bit that the hypervisor keeps
        mov     cr0, eax
        jmp     .on
.on:    xor     eax, eax
        cpuid
        mov     dword [FRESH + 0x100000], 0x55aa
        mov     eax, cr0
        test    eax, eax
        sets    al
        cmp     al, 1
        CHECK   "PAE paging"
        mov     eax, cr3            ; PDPTEs again
        mov     cr3, eax
        cmp     dword [FRESH + 0x100000], 0x55aa
        CHECK   "memory under PAE"
        mov     eax, [saved_cr0]
        mov     cr0, eax
        jmp     .off
.off:   cmp     dword [FRESH + 0x100000], 0x55aa
        CHECK   "memory after PAE"
        ret

long_mode:
        mov     ecx, 0xc0000080
        rdmsr
        or      eax, 1 << 8
        wrmsr
        mov     eax, pml4
        mov     cr3, eax
        mov     eax, [saved_cr0]
        or      eax, CR0_PG
        xor     eax, CR0_NE
        mov     cr0, eax
        mov     ecx, 0xc0000080
        rdmsr
        not     eax
        test    eax, 1 << 10
        CHECK   "EFER.LMA in long mode"
        mov     eax, event64
        mov     [idt64 + VECTOR_SELF * 16], ax
        shr     eax, 16
        mov     [idt64 + VECTOR_SELF * 16 + 6], ax
        lgdt    [gdt64_pointer]
        lidt    [idt64_pointer]
        jmp     0x18:.in64

bits 64
.in64:  xor     eax, eax
        cpuid
        mov     dword [result64], 0
        ; CR8: raising it holds back, lowering it lets in at once.
        mov     dword [events], 0
        mov     eax, 15
        mov     cr8, rax
        mov     edi, APIC_ICR
        mov     dword [rdi], ICR_SELF
        sti
        nop
        cpuid
        cmp     dword [events], 0
        je      .held
        or      dword [result64], 1
.held:  mov     rax, cr8
        cmp     eax, 15
        je      .read
        or      dword [result64], 2
.read:  xor     eax, eax
        mov     cr8, rax
        nop
        cli
        cmp     dword [events], 1
        je      .let
        or      dword [result64], 4
.let:   mov     edi, 0xfee00080     ; TPR by the APIC shows in CR8
        mov     dword [rdi], 0x70
        mov     rax, cr8
        mov     dword [rdi], 0
        cmp     eax, 7
        je      .tpr
        or      dword [result64], 8
.tpr:   ; Bases survive exits.
        mov     ecx, 0xc0000102
        mov     eax, 0x1234
        mov     edx, 0x5678
        wrmsr
        swapgs
        mov     ecx, 0xc0000101
        push    rcx
        xor     eax, eax
        cpuid
        pop     rcx
        rdmsr
        swapgs
        cmp     eax, 0x1234
        jne     .gs
        cmp     edx, 0x5678
        je      .star
.gs:    or      dword [result64], 16
.star:  mov     ecx, 0xc0000081
        mov     eax, 0xabcd
        mov     edx, 0x230018
        wrmsr
        xor     eax, eax
        cpuid
        mov     ecx, 0xc0000081
        rdmsr
        cmp     edx, 0x230018
        je      .back
        or      dword [result64], 32
.back:  jmp     dword far [far32]
align 8
far32:  dd      .in32
        dw      0x08
bits 32
.in32:  mov     eax, [saved_cr0]
        mov     cr0, eax
        jmp     .flat
.flat:  mov     ecx, 0xc0000080
        rdmsr
        test    eax, 1 << 10
        CHECK   "EFER.LMA after long mode"
        and     eax, ~(1 << 8)
        wrmsr
        lidt    [idt_pointer]
        mov     eax, [result64]
        mov     [seen], eax
        test    eax, eax
        CHECK   "64-bit: CR8 held 1, read 2, let in 4, TPR 8, GS base 16, STAR 32:"
        ret

bits 64
event64:
        inc     dword [events]
        push    rdi
        mov     edi, APIC_EOI
        mov     dword [rdi], 0
        pop     rdi
        iretq
bits 32

section .data
text_cpu:  db "cpu: ", 0
text_pass: db "cpu: PASS", 10, 0
text_fail: db "cpu: FAIL", 10, 0
align 8
stubs:
%assign v 0
%rep VECTORS
        dd stub_ %+ v
    %assign v v + 1
%endrep
idt_pointer:
        dw VECTORS * 8 - 1
        dd idt
align 8
gdt64:  dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00af9b000000ffff
gdt64_pointer:
        dw $ - gdt64 - 1
        dd gdt64, 0
idt64_pointer:
        dw VECTORS * 16 - 1
        dd idt64, 0
align 16
idt64:
        times VECTOR_SELF dq 0, 0
        dw 0, 0x18, 0x8e00, 0       ; event64
        dd 0, 0
        times VECTORS - VECTOR_SELF - 1 dq 0, 0
resume_at:    dd 0
seen:         dd -1
seen_dr6:     dd 0
events:       dd 0
nmi_count:    dd 0
nmi_nested:   dd 0
failures:     dd 0
fresh:        dd FRESH
saved_esp:    dd 0
saved_cr0:    dd 0
result64:     dd 0
word_watched: dd 0
vmxon_region: dq 0

section .bss
alignb 4096
idt:            resb VECTORS * 8
alignb 4096
directories:    resb 4 * 4096
pdpt:           resb 4096
pml4:           resb 4096
pdpt_pae:       resb 4096
