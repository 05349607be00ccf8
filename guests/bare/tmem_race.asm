; SPDX-License-Identifier: BSD-2-Clause
; Two vCPUs fight over the pools of one VM, and each tries what must not work in between.
;
; Command line: a letter, the VM's key, which is in every page that it puts; then `f`: for ever.
;
; What is checked of the pools that both use: a page that is got is whole, of this VM, of this handle, of
; this pool; no put or flush that had ended before the get began has made it old; a page of the
; exclusive pool is delivered once.  Of the pools that one vCPU has for itself: the exact content.
%include "bare.inc"
%include "tmem.inc"

APIC_ICR    equ 0xfee00300
APIC_ICR2   equ 0xfee00310
IOAPIC      equ 0xfec00000
ICR_INIT    equ 0x4500
ICR_SIPI    equ 0x4600
TRAMPOLINE  equ 0x8000
MEMORY_END  equ 32 << 20

ROUNDS      equ 3000                ; of each vCPU; one in HOSTILE of them is hostile as well
HOSTILE     equ 8
SPARE       equ 20                  ; pools that only the VM with the key B has
SEQS        equ 1 << 20             ; puts of a vCPU into the pools of both

CODE3       equ 0x1b
DATA3       equ 0x23
TSS0        equ 0x28
TSS_BYTES   equ 104

SHARED      equ 3                   ; persistent, exclusive, a get keeps: also those of one vCPU
EXCLUSIVE   equ 1
HANDLES     equ 16                  ; of a pool of both: 2 objects with 8 pages
OWN         equ 64                  ; of a pool of one: one object

; What each vCPU has for itself, at EBP.
CPU_OPS     equ 0
CPU_SRC     equ OP_BYTES * BATCH
CPU_DST     equ CPU_SRC + 4096
CPU_REST    equ CPU_DST + 4096
CPU_RANDOM  equ CPU_REST
CPU_NUMBER  equ CPU_REST + 4
CPU_SEQ     equ CPU_REST + 8
CPU_HIGH    equ CPU_REST + 12       ; upper half of the next address
CPU_GONE    equ CPU_REST + 16       ; a pool that has been destroyed
CPU_SCRATCH equ CPU_REST + 20
CPU_POOLS   equ CPU_REST + 32       ; SHARED of them
CPU_SEEN    equ CPU_REST + 64       ; see `look`: done of both, then the newest dead of both
CPU_TSS     equ CPU_REST + 256
CPU_STACK3  equ CPU_REST + 1024     ; end of the stack in ring 3
CPU_VERSION equ CPU_REST + 1024     ; [SHARED][OWN]: sequence number of what is there, 0: nothing
CPU_BYTES   equ CPU_REST + 4096

section .text
main:
        lgdt    [gdt3_pointer]
        mov     eax, int80
        mov     [idt + 0x80 * 8], ax
        mov     word [idt + 0x80 * 8 + 2], 0x08
        mov     word [idt + 0x80 * 8 + 4], 0xee00   ; 32-bit interrupt gate, ring 3 may
        shr     eax, 16
        mov     [idt + 0x80 * 8 + 6], ax
        mov     eax, [boot_info]
        mov     esi, [eax + 16]     ; command line
        mov     ax, [esi]
        mov     [key], al
        cmp     ah, 'f'
        sete    [forever]
        mov     ebp, cpus
        mov     esi, hello
        call    print
        call    find_call
        call    spare_pools
        xor     ebx, ebx
.pool:  mov     edx, [flags_of + ebx * 4]
        call    new_pool
        mov     [shared + ebx * 4], eax
        inc     ebx
        cmp     ebx, SHARED
        jb      .pool
        call    start_other
        xor     eax, eax
        call    cpu_main
.wait:  pause
        cmp     dword [other_done], 0
        je      .wait
        call    nothing_left
        mov     esi, pass
        call    print
        xor     eax, eax
        ret

; Pools with data of this VM, whose numbers are valid here only.
spare_pools:
        cmp     byte [key], 'B'
        jne     .done
        xor     ebx, ebx
.next:  mov     edx, PERSISTENT
        call    new_pool
        mov     [spare + ebx * 4], eax
        mov     ecx, 7
        mov     edx, 5
        call    fill
        mov     eax, [spare + ebx * 4]
        lea     edi, [ebp + CPU_SRC]
        TMEM    OP_PUT, eax, 1, 1, edi, 0, 0
        inc     ebx
        cmp     ebx, SPARE
        jb      .next
.done:  ret

; EDX flags.  EAX: the pool.
new_pool:
        TMEM    OP_CREATE, 0, 0, 0, 0, edx, 0
        mov     eax, [ebp + CPU_OPS + 8]
        ret

nothing_left:
        cmp     byte [key], 'B'
        jne     .both
        xor     ebx, ebx
.spare: mov     eax, [spare + ebx * 4]
        lea     edi, [ebp + CPU_DST]
        TMEM    OP_GET, eax, 1, 1, edi, 0, 0
        mov     ecx, 7
        mov     edx, 5
        mov     eax, [spare + ebx * 4]
        call    fill
        call    compare
        TMEM    OP_DESTROY, [spare + ebx * 4], 0, 0, 0, 0, 0
        inc     ebx
        cmp     ebx, SPARE
        jb      .spare
.both:  xor     ebx, ebx
.pool:  TMEM    OP_DESTROY, [shared + ebx * 4], 0, 0, 0, 0, 0
        inc     ebx
        cmp     ebx, SHARED
        jb      .pool
        lea     edi, [ebp + CPU_DST]
        TMEM    OP_QUERY, 0, 0, 0, edi, 0, 0
        mov     eax, [edi + 8]      ; persistent
        or      eax, [edi + 16]     ; ephemeral
        or      eax, [edi + 24]     ; pools
        CHECK   z
        mov     esi, hits_text
        call    print
        mov     eax, [hits]
        call    print_decimal
        mov     al, 10
        call    print_char
        cmp     dword [hits], ROUNDS / 20
        CHECK   a
        ret

; ---- the other vCPU ----

start_other:
        mov     esi, trampoline
        mov     edi, TRAMPOLINE
        mov     ecx, trampoline_end - trampoline
        rep     movsb
        mov     dword [APIC_ICR2], 1 << 24
        mov     dword [APIC_ICR], ICR_INIT
        mov     ecx, 100000
.init:  pause
        loop    .init
        mov     dword [APIC_ICR2], 1 << 24
        mov     dword [APIC_ICR], ICR_SIPI + TRAMPOLINE / 4096
.wait:  pause
        cmp     dword [other_up], 0
        je      .wait
        ret

bits 16
trampoline:
        cli
        xor     ax, ax
        mov     ds, ax
        o32 lgdt [TRAMPOLINE + trampoline_gdt - trampoline]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     dword 0x08:other_start
align 8
trampoline_gdt:
        dw gdt3_end - gdt3 - 1
        dd gdt3
trampoline_end:
bits 32

other_start:
        mov     ax, 0x10
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     esp, other_stack
        cld
        mov     dword [other_up], 1
        mov     ebp, cpus + CPU_BYTES
        mov     eax, 1
        call    cpu_main
        mov     dword [other_done], 1
        cli
.stop:  hlt
        jmp     .stop

; ---- what each vCPU does ----

; EAX: number of this vCPU, EBP: what is its own.
cpu_main:
        mov     [ebp + CPU_NUMBER], eax
        mov     ebx, eax
        imul    eax, 0x3c6ef372
        xor     eax, 0x12345678
        xor     al, [key]
        mov     [ebp + CPU_RANDOM], eax
        lidt    [idt_pointer]
        lea     eax, [ebp + CPU_TSS]
        mov     dword [eax + 8], 0x10           ; SS0
        mov     [gdt3 + TSS0 + ebx * 8 + 2], ax
        shr     eax, 16
        mov     [gdt3 + TSS0 + ebx * 8 + 4], al
        mov     [gdt3 + TSS0 + ebx * 8 + 7], ah
        lea     eax, [TSS0 + ebx * 8]
        ltr     ax
        xor     ebx, ebx
.pool:  mov     edx, [flags_of + ebx * 4]
        call    new_pool
        mov     [ebp + CPU_POOLS + ebx * 4], eax
        inc     ebx
        cmp     ebx, SHARED
        jb      .pool
        mov     edx, PERSISTENT
        call    new_pool
        mov     [ebp + CPU_SCRATCH], eax
        mov     ecx, ROUNDS
.round: push    ecx
        call    fight
        call    fight
        call    exact
        test    dword [esp], HOSTILE - 1
        jnz     .next
        call    hostile
.next:  pop     ecx
        cmp     byte [forever], 0
        jne     .round
        dec     ecx
        jnz     .round
        xor     ebx, ebx
.end:   TMEM    OP_DESTROY, [ebp + CPU_POOLS + ebx * 4], 0, 0, 0, 0, 0
        inc     ebx
        cmp     ebx, SHARED
        jb      .end
        TMEM    OP_DESTROY, [ebp + CPU_SCRATCH], 0, 0, 0, 0, 0
        ret

; EAX: the next of this vCPU's numbers (xorshift32).
cpu_random:
        push    ecx
        mov     eax, [ebp + CPU_RANDOM]
        mov     ecx, eax
        shl     ecx, 13
        xor     eax, ecx
        mov     ecx, eax
        shr     ecx, 17
        xor     eax, ecx
        mov     ecx, eax
        shl     ecx, 5
        xor     eax, ecx
        mov     [ebp + CPU_RANDOM], eax
        pop     ecx
        ret

; EAX: 0, 1 or 2
random3:
        push    edx
        push    ecx
        call    cpu_random
        xor     edx, edx
        mov     ecx, SHARED
        shr     eax, 4
        div     ecx
        mov     eax, edx
        pop     ecx
        pop     edx
        ret

; The source page becomes that of pool EAX, handle code ECX, put EDX (bit 31: by which vCPU).  One in
; four is of one word.
fill:
        pushad
        lea     edi, [ebp + CPU_SRC]
        mov     ebx, ecx
        shl     ebx, 8
        mov     bl, [key]
        test    edx, 3
        jz      .word
        mov     [edi], ebx
        mov     [edi + 4], edx
        mov     [edi + 8], eax
        add     edi, 12
        imul    eax, edx, 0x9e3779b1
        xor     eax, ebx
        mov     ecx, 1021
.next:  stosd
        add     eax, 0x01000193
        loop    .next
        popad
        ret
.word:  imul    eax, edx, 0x9e3779b1
        xor     eax, ebx
        mov     ecx, 1024
        rep     stosd
        popad
        ret

; Source and destination page are the same.
compare:
        pushad
        lea     esi, [ebp + CPU_SRC]
        lea     edi, [ebp + CPU_DST]
        mov     ecx, 1024
        repe    cmpsd
        CHECK   e
        popad
        ret

; ---- the pools that both use ----

; EBX: 0 .. SHARED - 1, the pool; EDI: 0 .. HANDLES - 1; ESI: the number of the handle, of all.
; done[vCPU][handle]: its last put that was accepted; dead[by][vCPU][handle]: what it put up to here
; has been removed, as `by` knows.  Each word has one writer.

%define DONE(cpu)    done + (cpu) * SHARED * HANDLES * 4
%define DEAD(by, cpu) dead + ((by) * 2 + (cpu)) * SHARED * HANDLES * 4

; How things were for handle ESI before the operation that follows.
look:
        pushad
        mov     eax, [DONE(0) + esi * 4]
        mov     [ebp + CPU_SEEN], eax
        mov     eax, [DONE(1) + esi * 4]
        mov     [ebp + CPU_SEEN + 4], eax
        mov     eax, [DEAD(0, 0) + esi * 4]
        mov     ebx, [DEAD(1, 0) + esi * 4]
        cmp     eax, ebx
        cmovb   eax, ebx
        mov     [ebp + CPU_SEEN + 8], eax
        mov     eax, [DEAD(0, 1) + esi * 4]
        mov     ebx, [DEAD(1, 1) + esi * 4]
        cmp     eax, ebx
        cmovb   eax, ebx
        mov     [ebp + CPU_SEEN + 12], eax
        popad
        ret

; All that was done when we looked has been removed now.
all_dead:
        pushad
        mov     ecx, [ebp + CPU_NUMBER]
        imul    ecx, 2 * SHARED * HANDLES * 4
        lea     edi, [dead + ecx + esi * 4]
        mov     eax, [ebp + CPU_SEEN]
        call    .raise
        add     edi, SHARED * HANDLES * 4
        mov     eax, [ebp + CPU_SEEN + 4]
        call    .raise
        popad
        ret
.raise: cmp     [edi], eax
        jae     .high
        mov     [edi], eax
.high:  ret

; Object of handle EDI in EDX, its index in ECX.
split:
        mov     edx, edi
        shr     edx, 3
        inc     edx
        mov     ecx, edi
        and     ecx, 7
        ret

fight:
        call    random3
        mov     ebx, eax
        call    cpu_random
        mov     edi, eax
        shr     edi, 5
        and     edi, HANDLES - 1
        mov     esi, ebx
        shl     esi, 4
        add     esi, edi
        shr     eax, 16
        and     eax, 63
        cmp     eax, 28
        jb      fight_put
        cmp     eax, 56
        jb      fight_get
        cmp     eax, 60
        jb      fight_flush
        cmp     eax, 61
        jbe     fight_flush_object
        cmp     eax, 62
        je      fight_flush_pool
        jmp     fight_destroy

fight_put:
        call    look
        call    split
        push    ecx
        push    edx
        mov     edx, [ebp + CPU_SEQ]
        inc     edx
        test    edx, 3
        jnz     .seq
        inc     edx                 ; not one of one word: it would not say whose it is
.seq:   mov     [ebp + CPU_SEQ], edx
        cmp     edx, SEQS
        CHECK   b
        push    edx
        mov     ecx, [ebp + CPU_NUMBER]
        shl     ecx, 31
        or      edx, ecx
        mov     ecx, esi
        mov     eax, [shared + ebx * 4]
        call    fill
        pop     ebx                 ; the sequence number
        pop     edx
        pop     ecx
        lea     edi, [ebp + CPU_SRC]
        TMEM_STATUS OP_PUT, eax, ecx, edx, edi, 0
        test    eax, eax
        jz      .good
        cmp     eax, EBADPOOL
        je      .done
        cmp     eax, ENOMEM
        CHECK   e
        jmp     all_dead            ; a refused put drops the old page
.good:  mov     ecx, [ebp + CPU_NUMBER]
        imul    ecx, SHARED * HANDLES * 4
        mov     [done + ecx + esi * 4], ebx
.done:  ret

fight_get:
        call    look
        call    split
        mov     edi, [shared + ebx * 4]
        lea     eax, [ebp + CPU_DST]
        TMEM_STATUS OP_GET, edi, ecx, edx, eax, 0
        test    eax, eax
        jz      .got
        cmp     eax, EBADPOOL
        je      .done
        cmp     eax, ENOENT
        CHECK   e
.done:  ret
.got:   lock inc dword [hits]
        mov     edx, [ebp + CPU_DST + 4]
        mov     eax, edi
        mov     ecx, esi
        call    fill                ; as that put into this pool under this handle would have been
        call    compare
        mov     ecx, edx
        shr     ecx, 31             ; who put it
        and     edx, SEQS - 1
        cmp     edx, [ebp + CPU_SEEN + ecx * 4]
        CHECK   ae                  ; else: replaced before we asked
        cmp     edx, [ebp + CPU_SEEN + 8 + ecx * 4]
        CHECK   a                   ; else: removed before we asked
        cmp     ebx, EXCLUSIVE
        jne     .done
        imul    eax, ecx, SEQS / 8
        add     eax, taken
        lock bts [eax], edx
        CHECK   nc                  ; else: delivered twice
        ret

%macro FIGHT_FLUSH 1                ; OP_FLUSH or OP_FLUSH_OBJECT
        call    look
        call    split
        mov     eax, [shared + ebx * 4]
        TMEM_STATUS %1, eax, ecx, edx, 0, 0
        test    eax, eax
        jz      all_dead
        cmp     eax, EBADPOOL
        CHECK   e
        ret
%endmacro

fight_flush:
        FIGHT_FLUSH OP_FLUSH

; Of its eight handles we remember one.
fight_flush_object:
        FIGHT_FLUSH OP_FLUSH_OBJECT

fight_flush_pool:
        call    look
        mov     eax, [shared + ebx * 4]
        TMEM_STATUS OP_FLUSH_POOL, eax, 0, 0, 0, 0
        test    eax, eax
        jz      all_dead
        cmp     eax, EBADPOOL
        CHECK   e
        ret

; Another pool in its place, unless the other vCPU has just done that.
fight_destroy:
        mov     edi, [shared + ebx * 4]
        TMEM_STATUS OP_DESTROY, edi, 0, 0, 0, 0
        test    eax, eax
        jz      .gone
        cmp     eax, EBADPOOL
        CHECK   e
        ret
.gone:  mov     [ebp + CPU_GONE], edi
        mov     edx, [flags_of + ebx * 4]
        call    new_pool
        mov     edx, eax
        mov     eax, edi
        lock cmpxchg [shared + ebx * 4], edx
        je      .done
        TMEM    OP_DESTROY, edx, 0, 0, 0, 0, 0
.done:  ret

%include "tmem_own.inc"
%include "tmem_hostile.inc"

section .data
hello:  db "tmem_race: hello", 10, 0
pass:   db "tmem_race: PASS", 10, 0
hits_text: db "tmem_race: hits in pools of both: ", 0
key:    db 0
forever: db 0
align 4
flags_of: dd PERSISTENT, 0, SHARED_GET
align 8
gdt3:   dq 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
        dq 0x00cffb000000ffff, 0x00cff3000000ffff   ; ring 3
        dq 0x0000890000000000 + TSS_BYTES - 1, 0x0000890000000000 + TSS_BYTES - 1
gdt3_end:
gdt3_pointer:
        dw gdt3_end - gdt3 - 1
        dd gdt3
idt_pointer:
        dw 0x81 * 8 - 1
        dd idt

section .bss
align 4096
cpus:   resb 2 * CPU_BYTES
idt:    resb 0x81 * 8
alignb 16
        resb 4096
other_stack:
shared: resd SHARED
spare:  resd SPARE
done:   resd 2 * SHARED * HANDLES
dead:   resd 4 * SHARED * HANDLES
hits:   resd 1
other_up: resd 1
other_done: resd 1
taken:  resb 2 * SEQS / 8
