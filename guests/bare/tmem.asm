; SPDX-License-Identifier: BSD-2-Clause
; The tmem hypercalls as a guest uses them, and as one that means harm does.  Says PASS and ends well,
; or says what was wrong.
%include "bare.inc"
%include "tmem_abi.inc"

MANY        equ 6000                ; pages put at once: more than the pool of the test has
WILD_ROUNDS equ 2000

; One operation alone, its status is expected to be that.
%macro TMEM 7                       ; op, pool, index, object, address, flags, status
        push    dword %7
        push    dword %6
        push    dword %5
        push    dword %4
        push    dword %3
        push    dword %2
        push    dword %1
        call    one
        cmp     eax, [esp + 24]
        lea     esp, [esp + 28]
        je      %%good
        call    bad
%%good:
%endmacro

; Either status will do: ephemeral pages may be refused, and may have gone.
%macro TMEM_OR 7                    ; op, pool, index, object, address, flags, other than 0
        push    dword %6
        push    dword %5
        push    dword %4
        push    dword %3
        push    dword %2
        push    dword %1
        call    one
        lea     esp, [esp + 24]
        test    eax, eax
        je      %%good
        cmp     eax, %7
        je      %%good
        call    bad
%%good:
%endmacro

%macro CHECK 1                      ; condition code that must hold
        j%1     %%good
        call    bad
%%good:
%endmacro

section .text
main:
        mov     esi, hello
        call    print
        call    find_call
        call    rules
        call    many
        call    call_errors
        call    wild
        call    rules               ; nothing of that has hurt
        mov     esi, pass
        call    print
        xor     eax, eax
        ret

; Called from where something is wrong; EAX: what was there.
bad:
        pop     ebp
        push    eax
        mov     esi, failed
        call    print
        mov     eax, ebp
        call    print_hex
        mov     esi, got
        call    print
        pop     eax
        call    print_hex
        mov     al, 10
        call    print_char
        mov     eax, 1
        mov     edx, STATUS_PORT
        out     dx, eax
        jmp     $

find_call:
        mov     eax, 0x40000100
        xor     ecx, ecx
        cpuid
        cmp     ebx, 'Spil'
        CHECK   e
        mov     eax, 0x40000101
        xor     ecx, ecx
        cpuid
        cmp     eax, 1
        CHECK   e
        test    ebx, 1              ; this VM may use tmem
        CHECK   nz
        test    ebx, 2
        jnz     .done
        test    ebx, 4
        CHECK   nz
        mov     dword [hypercall], use_vmmcall
.done:  ret

%include "vmcall.inc"

; The arguments of TMEM on the stack; EAX: the status.
one:
        mov     edi, ops
        xor     eax, eax
        mov     ecx, OP_BYTES / 4
        rep     stosd
        mov     eax, [esp + 4]
        mov     [ops], eax
        mov     dword [ops + 4], 0x7777
        mov     eax, [esp + 8]
        mov     [ops + 8], eax
        mov     eax, [esp + 12]
        mov     [ops + 12], eax
        mov     eax, [esp + 16]
        mov     [ops + 16], eax
        mov     [ops + 36], eax     ; some of the upper bits of the object as well
        mov     eax, [esp + 20]
        mov     [ops + 40], eax
        mov     eax, [esp + 24]
        mov     [ops + 48], eax
        mov     ebx, ops
        mov     ecx, 1
        mov     eax, TMEM_CALL
        call    [hypercall]
        test    eax, eax
        CHECK   z
        cmp     ebx, ops + OP_BYTES
        CHECK   e
        test    ecx, ecx
        CHECK   z
        mov     eax, [ops + 4]
        ret

; Fills the page at EDI with a sequence from EAX.
fill:
        push    edi
        mov     ecx, 1024
.next:  stosd
        add     eax, 0x01000193
        loop    .next
        pop     edi
        ret

; The page at EDI holds the sequence from EAX.
verify:
        mov     ecx, 1024
.next:  scasd
        CHECK   e
        add     eax, 0x01000193
        loop    .next
        ret

rules:
        ; persistent: put copies, get does not remove
        TMEM    OP_CREATE, 0, 0, 0, 0, PERSISTENT, 0
        mov     eax, [ops + 8]
        mov     [pool], eax
        mov     edi, page_a
        mov     eax, 1000
        call    fill
        TMEM    OP_GET, [pool], 7, 5, page_b, 0, ENOENT
        TMEM    OP_PUT, [pool], 7, 5, page_a, 0, 0
        mov     edi, page_a
        mov     eax, 2000
        call    fill
        TMEM    OP_GET, [pool], 7, 5, page_b, 0, 0
        mov     edi, page_b
        mov     eax, 1000
        call    verify
        TMEM    OP_GET, [pool], 7, 5, page_b, 0, 0
        TMEM    OP_GET, [pool], 7, 6, page_b, 0, ENOENT
        TMEM    OP_GET, [pool], 8, 5, page_b, 0, ENOENT
        ; put replaces
        TMEM    OP_PUT, [pool], 7, 5, page_a, 0, 0
        TMEM    OP_GET, [pool], 7, 5, page_b, 0, 0
        mov     edi, page_b
        mov     eax, 2000
        call    verify
        ; a page of one word
        mov     edi, page_a
        mov     eax, 0x5a5a5a5a
        mov     ecx, 1024
        rep     stosd
        TMEM    OP_PUT, [pool], 9, 5, page_a, 0, 0
        TMEM    OP_GET, [pool], 9, 5, page_b, 0, 0
        mov     esi, page_a
        mov     edi, page_b
        mov     ecx, 1024
        repe    cmpsd
        CHECK   e
        ; flushes are idempotent
        TMEM    OP_FLUSH, [pool], 7, 5, 0, 0, 0
        TMEM    OP_FLUSH, [pool], 7, 5, 0, 0, 0
        TMEM    OP_GET, [pool], 7, 5, page_b, 0, ENOENT
        TMEM    OP_GET, [pool], 9, 5, page_b, 0, 0
        TMEM    OP_PUT, [pool], 7, 6, page_a, 0, 0
        TMEM    OP_FLUSH_OBJECT, [pool], 0, 5, 0, 0, 0
        TMEM    OP_FLUSH_OBJECT, [pool], 0, 5, 0, 0, 0
        TMEM    OP_GET, [pool], 9, 5, page_b, 0, ENOENT
        TMEM    OP_GET, [pool], 7, 6, page_b, 0, 0
        TMEM    OP_FLUSH_POOL, [pool], 0, 0, 0, 0, 0
        TMEM    OP_FLUSH_POOL, [pool], 0, 0, 0, 0, 0
        TMEM    OP_GET, [pool], 7, 6, page_b, 0, ENOENT
        ; figures
        TMEM    OP_PUT, [pool], 1, 1, page_a, 0, 0
        TMEM    OP_QUERY, 0, 0, 0, page_b, 0, 0
        cmp     dword [page_b + 8], 1       ; persistent
        CHECK   e
        cmp     dword [page_b + 24], 1      ; pools
        CHECK   e
        ; what is wrong with one operation
        TMEM    OP_PUT, [pool], 1, 1, page_a + 8, 0, EINVAL
        TMEM    OP_GET, [pool], 1, 1, page_a + 2048, 0, EINVAL
        TMEM    OP_QUERY, 0, 0, 0, page_b + 4, 0, EINVAL
        TMEM    OP_PUT, [pool], 1, 1, page_a, 1, EINVAL
        TMEM    0, [pool], 1, 1, page_a, 0, EINVAL
        TMEM    9, [pool], 1, 1, page_a, 0, EINVAL
        TMEM    -1, [pool], 1, 1, page_a, 0, EINVAL
        TMEM    OP_CREATE, 0, 0, 0, 0, 4, EINVAL
        TMEM    OP_GET, [pool], 1, 1, 0xfee00000, 0, EFAULT
        TMEM    OP_GET, [pool], 1, 1, 0xfffff000, 0, EFAULT
        TMEM    OP_QUERY, 0, 0, 0, 0xfffffff8, 0, EFAULT
        TMEM    OP_GET, [pool], 1, 1, page_b, 0, 0
        ; a failed put drops the old data
        TMEM    OP_PUT, [pool], 1, 1, 0xfee00000, 0, EFAULT
        TMEM    OP_GET, [pool], 1, 1, page_b, 0, ENOENT
        ; ids of any value
        TMEM    OP_PUT, -1, 1, 1, page_a, 0, EBADPOOL
        TMEM    OP_GET, 0, 1, 1, page_a, 0, EBADPOOL
        TMEM    OP_FLUSH, 0x80000000, 1, 1, 0, 0, EBADPOOL
        TMEM    OP_PUT, [pool], -1, -1, page_a, 0, 0
        TMEM    OP_GET, [pool], -1, -1, page_b, 0, 0
        ; destroyed is dead
        TMEM    OP_DESTROY, [pool], 0, 0, 0, 0, 0
        TMEM    OP_DESTROY, [pool], 0, 0, 0, 0, EBADPOOL
        TMEM    OP_PUT, [pool], 1, 1, page_a, 0, EBADPOOL
        TMEM    OP_GET, [pool], -1, -1, page_b, 0, EBADPOOL
        TMEM    OP_FLUSH_POOL, [pool], 0, 0, 0, 0, EBADPOOL
        ; ephemeral: a get removes, unless the pool was made otherwise
        TMEM    OP_CREATE, 0, 0, 0, 0, 0, 0
        mov     eax, [ops + 8]
        cmp     eax, [pool]
        CHECK   ne
        mov     [pool], eax
        TMEM_OR OP_PUT, [pool], 1, 1, page_a, 0, ENOMEM
        TMEM_OR OP_GET, [pool], 1, 1, page_b, 0, ENOENT
        TMEM    OP_GET, [pool], 1, 1, page_b, 0, ENOENT
        TMEM    OP_DESTROY, [pool], 0, 0, 0, 0, 0
        TMEM    OP_CREATE, 0, 0, 0, 0, SHARED_GET, 0
        mov     eax, [ops + 8]
        mov     [pool], eax
        TMEM_OR OP_PUT, [pool], 1, 1, page_a, 0, ENOMEM
        TMEM_OR OP_GET, [pool], 1, 1, page_b, 0, ENOENT
        TMEM_OR OP_GET, [pool], 1, 1, page_b, 0, ENOENT
        TMEM    OP_DESTROY, [pool], 0, 0, 0, 0, 0
        ret

; An entry of the batch at EDI: op AL, [pool], index and object EDX, address ESI.
entry:
        movzx   eax, al
        push    edi
        push    eax
        xor     eax, eax
        mov     ecx, OP_BYTES / 4
        rep     stosd
        pop     eax
        pop     edi
        mov     [edi], eax
        mov     eax, [pool]
        mov     [edi + 8], eax
        mov     [edi + 12], edx
        mov     eax, edx
        shr     eax, 4
        mov     [edi + 24], eax
        mov     [edi + 40], esi
        add     edi, OP_BYTES
        ret

; Pages EDX, EDX + 1, ...: up to BATCH of them in one call, op BL; EDX is behind them.
batch:
        mov     edi, ops
        mov     esi, buffers
        mov     [batch_op], bl
        xor     ebp, ebp
.next:  cmp     bl, OP_PUT
        jne     .add
        push    edi
        mov     edi, esi
        mov     eax, edx
        shl     eax, 16
        call    fill
        pop     edi
.add:   mov     al, bl
        call    entry
        add     esi, 4096
        inc     edx
        inc     ebp
        cmp     ebp, BATCH
        je      .call
        cmp     edx, MANY
        jb      .next
.call:  push    edx
        mov     ebx, ops
        mov     ecx, ebp
        mov     eax, TMEM_CALL
        call    [hypercall]
        push    ebp
        test    eax, eax
        CHECK   z
        pop     ebp
        pop     edx
        mov     esi, ops
.status:
        mov     eax, [esi + 4]
        push    ebp
        test    eax, eax
        CHECK   z
        pop     ebp
        add     esi, OP_BYTES
        dec     ebp
        jnz     .status
        ret

; More pages than fit a batch go in, and come back as they were.
many:
        TMEM    OP_CREATE, 0, 0, 0, 0, PERSISTENT, 0
        mov     eax, [ops + 8]
        mov     [pool], eax
        xor     edx, edx
.put:   mov     bl, OP_PUT
        call    batch
        cmp     edx, MANY
        jb      .put
        TMEM    OP_QUERY, 0, 0, 0, page_b, 0, 0
        cmp     dword [page_b + 8], MANY
        CHECK   e
        xor     edx, edx
.get:   mov     [first], edx
        mov     bl, OP_GET
        call    batch
        push    edx
        mov     edi, buffers
.check: mov     eax, [first]
        shl     eax, 16
        call    verify
        inc     dword [first]
        mov     eax, [first]
        cmp     eax, [esp]
        jb      .check
        pop     edx
        cmp     edx, MANY
        jb      .get
        TMEM    OP_DESTROY, [pool], 0, 0, 0, 0, 0
        TMEM    OP_QUERY, 0, 0, 0, page_b, 0, 0
        cmp     dword [page_b + 8], 0
        CHECK   e
        ret

; EBX array, ECX count, EDX the expected answer of the call as a whole.
expect_call:
        mov     eax, TMEM_CALL
        push    edx
        call    [hypercall]
        pop     edx
        cmp     eax, edx
        ret

call_errors:
        mov     ebx, ops
        xor     ecx, ecx
        mov     edx, EINVAL
        call    expect_call
        CHECK   e
        mov     ebx, ops
        mov     ecx, BATCH + 1
        call    expect_call
        CHECK   e
        mov     ebx, ops
        mov     ecx, -1
        call    expect_call
        CHECK   e
        mov     ebx, ops + 4
        mov     ecx, 1
        call    expect_call
        CHECK   e
        mov     edx, EFAULT
        mov     ebx, 0xfee00000
        mov     ecx, 1
        call    expect_call
        CHECK   e
        mov     ebx, 0xfffffff8
        mov     ecx, BATCH
        call    expect_call
        CHECK   e
        mov     ebx, (32 << 20) - 64        ; the last entry in our memory, and one behind it
        mov     ecx, 2
        call    expect_call
        CHECK   e
        mov     eax, TMEM_CALL + 1
        call    [hypercall]
        cmp     eax, -38
        CHECK   e
        mov     eax, 12345
        call    [hypercall]
        cmp     eax, -1000
        CHECK   e
        ret

; Batches of nonsense: operations, pools and addresses that mostly exist.
wild:
        mov     ebp, WILD_ROUNDS
.round: mov     edi, ops
        mov     ecx, 8 * OP_BYTES / 4
.word:  call    random
        stosd
        loop    .word
        mov     edi, ops
        mov     ecx, 8
.entry: and     dword [edi], 15
        and     dword [edi + 8], 0x1ff
        and     dword [edi + 12], 3
        xor     eax, eax
        mov     [edi + 16], eax
        mov     [edi + 20], eax
        mov     [edi + 24], eax
        mov     [edi + 28], eax
        mov     [edi + 32], eax
        mov     [edi + 44], eax
        mov     [edi + 52], eax
        mov     [edi + 56], eax
        mov     [edi + 60], eax
        and     dword [edi + 48], 3
        mov     eax, [edi + 40]
        test    eax, 0x300          ; one in four goes where no memory is, or is not aligned
        jz      .next
        and     eax, 0x7f000
        add     eax, buffers
        mov     [edi + 40], eax
        mov     dword [edi + 48], 0
.next:  add     edi, OP_BYTES
        loop    .entry
        mov     ebx, ops
        mov     ecx, 8
        mov     eax, TMEM_CALL
        call    [hypercall]
        push    ebp
        test    eax, eax
        CHECK   z
        pop     ebp
        dec     ebp
        jnz     .round
        ; what that has left: every pool goes
        mov     dword [pool], 0
.end:   mov     al, OP_DESTROY
        mov     edi, ops
        xor     edx, edx
        xor     esi, esi
        call    entry
        mov     ebx, ops
        mov     ecx, 1
        mov     eax, TMEM_CALL
        call    [hypercall]
        inc     dword [pool]
        cmp     dword [pool], 100000
        jb      .end
        TMEM    OP_QUERY, 0, 0, 0, page_b, 0, 0
        cmp     dword [page_b + 8], 0
        CHECK   e
        cmp     dword [page_b + 16], 0
        CHECK   e
        cmp     dword [page_b + 24], 0
        CHECK   e
        ret

section .data
hello:  db "tmem: hello", 10, 0
pass:   db "tmem: PASS", 10, 0
failed: db "tmem: FAIL: at ", 0
got:    db " got ", 0
align 4
hypercall: dd use_vmcall
pool:   dd 0
first:  dd 0
batch_op: dd 0

section .bss
align 4096
page_a: resb 4096
page_b: resb 4096
buffers: resb 4096 * BATCH
ops:    resb OP_BYTES * BATCH
