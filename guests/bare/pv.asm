; SPDX-License-Identifier: BSD-2-Clause
; KVM's paravirtual interface as a guest of two vCPUs sees it: docs/hypercall-abi.md.
;
; The other vCPU does what [order] says, again and again, and says in [done] what it has done.
%include "bare.inc"
%include "smp.inc"

KVM_FEATURES    equ 0x40000001
WANTED          equ 1 << 6 | 1 << 7 | 1 << 11 | 1 << 13   ; EOI, unhalt, IPI, yield
MSR_KVM_EOI     equ 0x4b564d04
KICK_CPU        equ 5
SEND_IPI        equ 10
SCHED_YIELD     equ 11
EINVAL          equ -22
ENOSYS          equ -1000

APIC_EOI        equ 0xfee000b0
APIC_ISR        equ 0xfee00100
APIC_SVR        equ 0xfee000f0
VECTOR          equ 0x50
VECTOR_BIT      equ 0x61            ; ended by the bit
VECTOR_FIRST    equ 0x72            ; these two are pending at once
VECTOR_SECOND   equ 0x71
ICR_SELF        equ 0x44000
EOIS            equ 50

ORDER_SLEEP     equ 1               ; HLT with IF = 0
ORDER_LATE      equ 2               ; the same, when [go] is not 0
ORDER_COUNT     equ 3               ; for ever, with IF = 1

HOPELESS           equ 50000000        ; turns of a loop, after which all hope is lost
BRIEF           equ 20000000        ; in which a vCPU that can run would run
YIELDS          equ 20

; A failure unless the flags say so.
%macro CHECK 2                      ; condition code, what
        j%1     %%good
        mov     esi, %%text
        call    print
        inc     dword [failures]
section .data
%%text: db "pv: wrong: ", %2, 10, 0
section .text
%%good:
%endmacro

section .text
main:
        lidt    [idt_pointer]
        mov     edi, VECTOR
        mov     eax, on_vector
        call    set_gate
        mov     dword [APIC_SVR], 0x1ff
        mov     eax, KVM_FEATURES
        cpuid
        and     eax, WANTED
        cmp     eax, WANTED
        CHECK   e, "CPUID does not say what this guest is about"
        call    find_hypercall
        mov     eax, 4711
        call    [hypercall]
        cmp     eax, ENOSYS
        CHECK   e, "the answer to an unknown call"
        call    ends
        call    start_others
        mov     edi, started
        mov     eax, 1
        call    wait_for
        CHECK   e, "the other vCPU has not started"
        call    kicks
        call    interrupts
        call    yields
        cmp     dword [failures], 0
        mov     esi, text_pass
        je      .end
        mov     esi, text_fail
.end:   call    print
        mov     eax, [failures]
        ret

; EOI by a bit: set in the handler of one interrupt, and enough; never while a second one is pending.
ends:
        mov     edi, VECTOR_BIT
        mov     eax, on_bit
        call    set_gate
        mov     edi, VECTOR_FIRST
        mov     eax, on_first
        call    set_gate
        mov     edi, VECTOR_SECOND
        mov     eax, on_second
        call    set_gate
        mov     eax, eoi_word + 1
        call    enable_eoi
        mov     dword [left], EOIS
.one:   mov     dword [ICR_LOW], ICR_SELF + VECTOR_BIT
        sti
        nop
        cli
        dec     dword [left]
        jnz     .one
        cmp     dword [by_bit], EOIS
        CHECK   e, "interrupts that were ended by the bit"
        call    expect_ended

        mov     dword [ICR_LOW], ICR_SELF + VECTOR_FIRST
        mov     dword [ICR_LOW], ICR_SELF + VECTOR_SECOND
        sti
        nop
        nop
        cli
        cmp     dword [first], 1
        CHECK   e, "the first of two interrupts has not come"
        cmp     dword [second], 1
        CHECK   e, "the second of two interrupts has not come, or too early"
        test    dword [eoi_word], 1
        CHECK   z, "the bit is set with nothing in service"
        call    expect_ended

        xor     eax, eax            ; disabled
        call    enable_eoi
        mov     dword [by_bit], 0
        mov     dword [ICR_LOW], ICR_SELF + VECTOR_BIT
        sti
        nop
        cli
        cmp     dword [by_bit], 0
        CHECK   e, "the bit is set though the guest has not enabled it"
        jmp     expect_ended

; EAX: address, and bit 0.
enable_eoi:
        mov     ecx, MSR_KVM_EOI
        xor     edx, edx
        wrmsr
        ret

; Nothing is in service.
expect_ended:
        xor     eax, eax
        xor     ecx, ecx
.word:  or      eax, [APIC_ISR + ecx]
        add     ecx, 16
        cmp     ecx, 128
        jb      .word
        test    eax, eax
        CHECK   z, "an interrupt is still in service"
        ret

on_bit:
        btr     dword [eoi_word], 0
        jnc     .write
        inc     dword [by_bit]
        iret
.write: mov     dword [APIC_EOI], 0
        iret

; The second one waits for the end of this one.
on_first:
        btr     dword [eoi_word], 0
        CHECK   nc, "the bit is set while another interrupt is pending"
        cmp     dword [second], 0
        CHECK   e, "the second interrupt has come into the first"
        inc     dword [first]
        mov     dword [APIC_EOI], 0
        iret

on_second:
        push    eax
        mov     eax, [first]
        add     [second], eax
        pop     eax
        btr     dword [eoi_word], 0
        jc      .end
        mov     dword [APIC_EOI], 0
.end:   iret

; EDI: waits until what is there is EAX.  ZF: it is.
wait_for:
        mov     ecx, HOPELESS
.turn:  cmp     [edi], eax
        je      .end
        pause
        loop    .turn
        test    esp, esp            ; ZF clear
.end:   ret

; Lets the other one run; not by PAUSE, which would give it our time, too.
wait_short:
        mov     ecx, BRIEF
.turn:  loop    .turn
        ret

; To the other one.
kick:
        mov     eax, KICK_CPU
        xor     ebx, ebx
        mov     ecx, 1
        call    [hypercall]
        test    eax, eax
        CHECK   z, "the answer to a kick"
        ret

; A kick ends HLT, whatever IF is; one that came before is not lost, and is for one HLT.
kicks:
        mov     dword [order], ORDER_SLEEP
        call    wait_short
        cmp     dword [done], 0
        CHECK   e, "HLT with IF = 0 has ended by itself"
        call    kick
        mov     edi, done
        mov     eax, 1
        call    wait_for
        CHECK   e, "a kick has not ended HLT"

        mov     dword [order], ORDER_LATE
        call    kick
        mov     dword [go], 1
        mov     edi, done
        mov     eax, 2
        call    wait_for
        CHECK   e, "a kick before HLT was lost"

        mov     dword [order], ORDER_SLEEP
        call    wait_short
        cmp     dword [done], 2
        CHECK   e, "a kick has ended two HLTs"
        call    kick
        mov     edi, done
        mov     eax, 3
        call    wait_for
        CHECK   e, "the third kick has not ended HLT"
        ret

; EBX, ECX, EDX, ESI: as the call has them.
send:
        mov     eax, SEND_IPI
        jmp     [hypercall]

; One, both, nobody; what is no set of APICs is refused.
interrupts:
        mov     dword [order], ORDER_COUNT
        mov     edi, counts
        call    wait_change
        CHECK   ne, "the other vCPU does not count"
        mov     ebx, 2
        xor     ecx, ecx
        xor     edx, edx
        mov     esi, VECTOR
        call    send
        cmp     eax, 1
        CHECK   e, "the answer to one interrupt"
        mov     edi, taken + 4
        mov     eax, 1
        call    wait_for
        CHECK   e, "one interrupt has not come"

        sti
        mov     ebx, 0xffffffff
        mov     ecx, 0xffffffff
        xor     edx, edx
        mov     esi, VECTOR
        call    send
        cmp     eax, 2
        CHECK   e, "the answer to interrupts for all"
        mov     edi, taken + 4
        mov     eax, 2
        call    wait_for
        CHECK   e, "the other vCPU's interrupt has not come"
        mov     edi, taken
        mov     eax, 1
        call    wait_for
        CHECK   e, "our own interrupt has not come"
        cli

        mov     ebx, 1
        xor     ecx, ecx
        mov     edx, 0xffffffff
        mov     esi, VECTOR
        call    send
        test    eax, eax
        CHECK   z, "the answer to an interrupt for nobody"
        mov     ebx, 3
        xor     ecx, ecx
        xor     edx, edx
        mov     esi, VECTOR | 0x800
        call    send
        cmp     eax, EINVAL
        CHECK   e, "the answer to a logical destination"
        call    wait_short
        cmp     dword [taken + 4], 2
        CHECK   e, "an interrupt came that was not for the other vCPU"
        ret

; EDI: waits until what is there changes.  ZF clear: it has.
wait_change:
        mov     eax, [edi]
        mov     ecx, HOPELESS
.turn:  cmp     [edi], eax
        jne     .end
        pause
        loop    .turn
        cmp     eax, eax
.end:   ret

; On one CPU the other one, which is busy all the time, runs within each call.
yields:
        mov     dword [left], YIELDS
.turn:  mov     edi, [counts]
        mov     eax, SCHED_YIELD
        mov     ebx, 1
        call    [hypercall]
        test    eax, eax
        CHECK   z, "the answer to a yield"
        cmp     [counts], edi
        setne   al
        movzx   eax, al
        add     [yielded], eax
        dec     dword [left]
        jnz     .turn
        cmp     dword [yielded], YIELDS
        CHECK   e, "a yield has not let the other vCPU run"
        mov     eax, SCHED_YIELD
        xor     ebx, ebx            ; to oneself
        call    [hypercall]
        test    eax, eax
        CHECK   z, "the answer to a yield to oneself"
        ret

other_main:
        lidt    [idt_pointer]
        mov     dword [APIC_SVR], 0x1ff
        mov     dword [started], 1
.turn:  xor     eax, eax
        xchg    eax, [order]
        cmp     eax, ORDER_SLEEP
        je      .sleep
        cmp     eax, ORDER_LATE
        je      .late
        cmp     eax, ORDER_COUNT
        je      .count
        pause
        jmp     .turn
.late:  pause
        cmp     dword [go], 0
        je      .late
.sleep: hlt
        inc     dword [done]
        jmp     .turn
.count: sti
.again: inc     dword [counts]
        jmp     .again

on_vector:
        push    eax
        mov     eax, [0xfee00020]   ; APIC id
        shr     eax, 24
        lock inc dword [taken + eax * 4]
        mov     dword [APIC_EOI], 0
        pop     eax
        iret

; EDI: vector, EAX: handler.
set_gate:
        lea     edi, [idt + edi * 8]
        mov     [edi], ax
        mov     word [edi + 2], 0x08
        mov     word [edi + 4], 0x8e00
        shr     eax, 16
        mov     [edi + 6], ax
        ret

; Which instruction CPUID says.
find_hypercall:
        mov     eax, 0x40000101
        cpuid
        test    ebx, 4
        jz      .end
        mov     dword [hypercall], use_vmmcall
.end:   ret

%include "vmcall.inc"

section .data
text_pass:  db "pv: PASS", 10, 0
text_fail:  db "pv: FAIL", 10, 0
align 8
idt_pointer:
            dw 256 * 8 - 1
            dd idt
align 4
hypercall:  dd use_vmcall
failures:   dd 0
started:    dd 0
order:      dd 0
go:         dd 0
done:       dd 0
counts:     dd 0
left:       dd 0
yielded:    dd 0
taken:      dd 0, 0
eoi_word:   dd 0
by_bit:     dd 0
first:      dd 0
second:     dd 0

section .bss
align 8
idt:        resb 256 * 8
