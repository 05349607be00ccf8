; SPDX-License-Identifier: BSD-2-Clause
; Cost of the tmem hypercalls, in TSC ticks from before the instruction to behind it.  Each call is timed
; by itself.  Prints `bench: NAME OPERATIONS MEAN MEDIAN` lines, the ticks of a whole call with what
; reading the TSC costs (`empty`) still in them, and ends well.  `ticks` is as in bench.asm.
%include "bare.inc"
%include "tmem_abi.inc"

SAMPLES     equ 1024                ; of a call with one operation
PAGES       equ 3072                ; put, got or flushed by each sort of batch

OBJECT      equ 1
NO_OBJECT   equ 2                   ; has no pages

; What is timed: calls of `operations` entries; entry n of all calls has the index n.
struc bench
.name:       resd 1
.pool:       resd 1                 ; address of its number
.op:         resd 1
.operations: resd 1
.calls:      resd 1
.page:       resd 1                 ; address of the first entry's page
.stride:     resd 1                 ; to the next one's
.object:     resd 1
.index:      resd 1                 ; of the first entry
.status:     resd 1                 ; that each entry must have
endstruc

%macro BENCH 10                     ; name, then as in the structure
        [section .rodata]
%%name: db "bench: ", %1, " ", 0
        __SECT__
        dd      %%name, %2, %3, %4, %5, %6, %7, %8, %9, %10
%endmacro

; One operation alone.
%macro SINGLE 4                     ; name, pool, op, page
        BENCH   %1, %2, %3, 1, SAMPLES, %4, 0, OBJECT, 0, 0
%endmacro

; As many operations as there are pages, so many in each call.
%macro BATCHED 4                    ; name, pool, op, operations
        BENCH   %1, %2, %3, %4, PAGES / %4, buffers, 4096, OBJECT, 0, 0
%endmacro

section .text
main:
        mov     esi, hello
        call    print
        call    find_call
        call    make_pages
        mov     dword [create_flags], PERSISTENT
        call    create
        mov     [pool], eax
        mov     dword [create_flags], 0
        call    create
        mov     [exclusive], eax
        mov     dword [create_flags], SHARED_GET
        call    create
        mov     [shared], eax
        mov     eax, [hypercall]
        mov     [saved_call], eax
        mov     dword [hypercall], use_nothing
        mov     ebp, empty
        call    run
        mov     dword [hypercall], use_loop
        mov     ebp, ticks
        call    run
        mov     dword [hypercall], use_copy
        mov     ebp, copy
        call    run
        mov     eax, [saved_call]
        mov     [hypercall], eax
        mov     dword [number], TMEM_CALL + 1
        mov     ebp, unknown
        call    run
        mov     dword [number], TMEM_CALL
        mov     ebp, benches
.next:  call    run
        add     ebp, bench_size
        cmp     ebp, benches_end
        jb      .next
        xor     eax, eax
        ret

; EBP: the bench.
run:
        mov     dword [done], 0
        mov     eax, [ebp + bench.index]
        mov     [next_index], eax
.call:  call    prepare
        call    timed
        mov     ecx, [done]
        mov     [samples + ecx * 4], eax
        call    check
        inc     dword [done]
        mov     eax, [done]
        cmp     eax, [ebp + bench.calls]
        jb      .call
        call    sort
        mov     esi, [ebp + bench.name]
        call    print
        mov     eax, [ebp + bench.operations]
        call    print_decimal
        mov     al, ' '
        call    print_char
        call    mean
        call    print_decimal
        mov     al, ' '
        call    print_char
        mov     eax, [done]
        shr     eax, 1
        mov     eax, [samples + eax * 4]
        call    print_decimal
        mov     al, 10
        jmp     print_char

; EAX: ticks of the call of the operations in `ops`.
timed:
        push    ebp
        mov     ecx, [ebp + bench.operations]
        mov     ebx, ops
        rdtsc
        mov     esi, eax
        mov     eax, [number]
        call    [hypercall]
        mov     edi, eax
        rdtsc
        sub     eax, esi            ; less than 2^32
        mov     [result], edi
        pop     ebp
        ret

%include "vmcall.inc"
use_nothing:
        ret
use_loop:
        mov     ecx, 500            ; 1001 with what is around it
.next:  dec     ecx
        jnz     .next
        ret
; As many words as a page has in 64-bit mode.  Our own copy of that size, from page to page.
use_copy:
        push    esi
        mov     esi, buffers
        mov     edi, buffers + 4096
        mov     ecx, 512
        rep     movsd
        pop     esi
        ret

; The operations of the next call.
prepare:
        mov     edi, ops
        mov     edx, [ebp + bench.page]
        mov     ebx, [ebp + bench.operations]
.next:  push    edi
        xor     eax, eax
        mov     ecx, OP_BYTES / 4
        rep     stosd
        pop     edi
        mov     eax, [ebp + bench.op]
        mov     [edi], eax
        mov     eax, [ebp + bench.pool]
        mov     eax, [eax]
        mov     [edi + 8], eax
        mov     eax, [next_index]
        inc     dword [next_index]
        mov     [edi + 12], eax
        mov     eax, [ebp + bench.object]
        mov     [edi + 16], eax
        mov     [edi + 40], edx
        add     edi, OP_BYTES
        add     edx, [ebp + bench.stride]
        dec     ebx
        jnz     .next
        ret

; Every operation has ended as it must.
check:
        cmp     dword [number], TMEM_CALL
        jne     .done
        mov     edx, [hypercall]
        cmp     edx, [saved_call]
        jne     .done
        cmp     dword [result], 0
        jne     bad
        mov     esi, ops
        mov     ecx, [ebp + bench.operations]
.next:  mov     eax, [esi + 4]
        cmp     eax, [ebp + bench.status]
        jne     bad
        add     esi, OP_BYTES
        loop    .next
.done:  ret

bad:
        mov     esi, failed
        call    print
        mov     esi, [ebp + bench.name]
        call    print
        mov     eax, 1
        mov     edx, STATUS_PORT
        out     dx, eax
        jmp     $

; The samples in order: by insertion, since they hardly differ.
sort:
        mov     ebx, 1
.next:  cmp     ebx, [done]
        jae     .done
        mov     eax, [samples + ebx * 4]
        mov     ecx, ebx
.down:  mov     edx, [samples + ecx * 4 - 4]
        cmp     edx, eax
        jbe     .place
        mov     [samples + ecx * 4], edx
        dec     ecx
        jnz     .down
.place: mov     [samples + ecx * 4], eax
        inc     ebx
        jmp     .next
.done:  ret

; EAX: the mean of the samples.
mean:
        xor     eax, eax
        xor     edx, edx
        mov     ecx, [done]
.next:  add     eax, [samples + ecx * 4 - 4]
        adc     edx, 0
        loop    .next
        div     dword [done]
        ret

find_call:
        mov     eax, 0x40000101
        xor     ecx, ecx
        cpuid
        mov     dword [hypercall], use_vmcall
        test    ebx, 2
        jnz     .done
        mov     dword [hypercall], use_vmmcall
.done:  ret

; EAX: a new pool.
create:
        mov     edi, ops
        xor     eax, eax
        mov     ecx, OP_BYTES / 4
        rep     stosd
        mov     dword [ops], OP_CREATE
        mov     eax, [create_flags]
        mov     [ops + 48], eax
        mov     ebx, ops
        mov     ecx, 1
        mov     eax, TMEM_CALL
        call    [hypercall]
        mov     eax, [ops + 8]
        ret

; Random pages; one of a single word; and one that is of a single word but for its last.
make_pages:
        mov     edi, buffers
.random:
        call    random
        stosd
        cmp     edi, buffers + BATCH * 4096
        jb      .random
        mov     eax, 0x5a5a5a5a
        mov     edi, pattern
        mov     ecx, 2048
        rep     stosd
        mov     dword [late + 4092], 1
        ret

section .rodata
hello:   db "bench_tmem: hello", 10, 0
failed:  db "bench_tmem: FAIL: wrong status in ", 0

section .data
align 4
empty:   BENCH  "empty", pool, OP_QUERY, 1, SAMPLES, target, 0, 0, 0, 0
ticks:   BENCH  "ticks", pool, OP_QUERY, 1, SAMPLES, target, 0, 0, 0, 0
copy:    BENCH  "copy", pool, OP_QUERY, 1, SAMPLES, target, 0, 0, 0, 0
unknown: BENCH  "unknown-call", pool, OP_QUERY, 1, SAMPLES, target, 0, 0, 0, 0

benches:
        SINGLE  "query", pool, OP_QUERY, target
        SINGLE  "put", pool, OP_PUT, buffers
        SINGLE  "put-again", pool, OP_PUT, buffers
        SINGLE  "get", pool, OP_GET, target
        BENCH   "get-miss", pool, OP_GET, 1, SAMPLES, target, 0, NO_OBJECT, 0, ENOENT
        SINGLE  "flush", pool, OP_FLUSH, 0
        SINGLE  "flush-nothing", pool, OP_FLUSH, 0
        SINGLE  "put-late", pool, OP_PUT, late
        SINGLE  "flush-late", pool, OP_FLUSH, 0
        SINGLE  "put-pattern", pool, OP_PUT, pattern
        SINGLE  "get-pattern", pool, OP_GET, target
        SINGLE  "flush-pattern", pool, OP_FLUSH, 0
        SINGLE  "put-ephemeral", exclusive, OP_PUT, buffers
        SINGLE  "get-exclusive", exclusive, OP_GET, target
        SINGLE  "put-shared", shared, OP_PUT, buffers
        SINGLE  "get-shared", shared, OP_GET, target
        SINGLE  "flush-shared", shared, OP_FLUSH, 0
        BATCHED "batch16-put", pool, OP_PUT, 16
        BATCHED "batch16-put-again", pool, OP_PUT, 16
        BATCHED "batch16-get", pool, OP_GET, 16
        BATCHED "batch16-flush", pool, OP_FLUSH, 16
        BATCHED "batch128-put", pool, OP_PUT, 128
        BATCHED "batch128-put-again", pool, OP_PUT, 128
        BATCHED "batch128-get", pool, OP_GET, 128
        BENCH   "flush-object-of-none", pool, OP_FLUSH_OBJECT, 1, 64, 0, 0, NO_OBJECT, 0, 0
        BATCHED "batch128-flush", pool, OP_FLUSH, 128
        SINGLE  "put-for-object", pool, OP_PUT, buffers
        BENCH   "flush-object-1024", pool, OP_FLUSH_OBJECT, 1, 1, 0, 0, OBJECT, 0, 0
        SINGLE  "put-for-pool", pool, OP_PUT, buffers
        BENCH   "flush-pool-1024", pool, OP_FLUSH_POOL, 1, 1, 0, 0, OBJECT, 0, 0
benches_end:

hypercall:  dd 0
saved_call: dd 0
number:     dd TMEM_CALL
pool:       dd 0
exclusive:  dd 0
shared:     dd 0

section .bss
create_flags: resd 1
done:       resd 1
next_index: resd 1
result:     resd 1
samples:    resd SAMPLES
alignb 4096
buffers: resb 4096 * BATCH
pattern: resb 4096
late:    resb 4096                  ; right behind: filled with the same
target:  resb 4096
ops:     resb OP_BYTES * BATCH
