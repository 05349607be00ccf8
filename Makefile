# SPDX-License-Identifier: BSD-2-Clause
# Spillway.  `make` builds build/BOOTX64.EFI; `make run` boots the demo; `make test` tests everything.
# `make help` lists the targets.

BUILD ?= build
EMU   ?= qemu
DISK  ?= nvme
CC    := gcc
CLANG := clang-14
CPUS  ?= $(if $(filter bochs,$(EMU)),1,2)

# V=1 shows every command.
Q := $(if $(V),,@)

# DEBUG=1 keeps asserts and the checker of lock ranks in the hypervisor.
# TESTDEV=1 gives guests the test device (hv/vdev/testdev.h).

ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:

.PHONY: all
all: $(BUILD)/BOOTX64.EFI $(BUILD)/check-config

# ---- flags ----

WARNINGS := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wvla -Wcast-qual -Wstrict-prototypes -Werror

NEWLIB      := $(BUILD)/newlib/libc
GCC_INCLUDE := $(shell $(CC) -print-file-name=include 2>/dev/null)

# What both the hypervisor and its C library are compiled with: no FPU register is ever touched, so
# that a guest's vector state can stay in the CPU while the hypervisor runs.
FREESTANDING := -ffreestanding -mcmodel=kernel -mno-red-zone -mgeneral-regs-only -fno-pic -fno-pie \
                -O2 -g -fno-omit-frame-pointer -fno-strict-aliasing -fno-asynchronous-unwind-tables \
                -fcf-protection=none
LIBC_HEADERS := -nostdinc -isystem $(GCC_INCLUDE) -isystem $(BUILD)/libc -isystem $(NEWLIB)/include
CFLAGS       := -std=c11 $(FREESTANDING) -fstack-protector-strong -mstack-protector-guard=global \
                $(WARNINGS) -I. -I$(BUILD) $(LIBC_HEADERS) $(if $(DEBUG),,-DNDEBUG) $(EXTRA_CFLAGS)
NASMFLAGS    := -felf64 -g -Fdwarf -I./ -I$(BUILD)/ -w+error

# ---- the hypervisor ----

SOURCE_DIRS := base hv $(patsubst %/,%,$(wildcard hv/*/ hv/*/*/)) mm $(patsubst %/,%,$(wildcard mm/*/)) drivers arch/x86 $(patsubst %/,%,$(wildcard arch/x86/*/))
# One of the two: the test device, or nothing in its place.
TESTDEV_OUT := hv/vdev/testdev$(if $(TESTDEV),_none).c
C_SOURCES   := $(filter-out arch/x86/asm_offsets.c $(TESTDEV_OUT),$(wildcard $(SOURCE_DIRS:%=%/*.c)))
ASM_SOURCES := $(wildcard $(SOURCE_DIRS:%=%/*.asm))
ASL_SOURCES := $(wildcard hv/vdev/legacy/*.asl)
OBJECTS     := $(C_SOURCES:%.c=$(BUILD)/%.o) $(ASM_SOURCES:%.asm=$(BUILD)/%.asm.o)
# Made before anything is compiled.
GENERATED   := $(BUILD)/libc/newlib.h $(BUILD)/libc/xxhash.h $(ASL_SOURCES:%.asl=$(BUILD)/%.hex)

# What the last build was compiled with: written anew only when that changes (DEBUG=1, EXTRA_CFLAGS),
# and then everything that those flags decide is older.
FLAGS := $(BUILD)/flags

.PHONY: FORCE
FORCE:

export FLAGS_NOW = $(CC) $(CFLAGS) $(NASMFLAGS) TESTDEV=$(TESTDEV)
$(FLAGS): FORCE
	@mkdir -p $(@D)
	@echo "$$FLAGS_NOW" | cmp -s - $@ || echo "$$FLAGS_NOW" > $@

$(BUILD)/%.o: %.c $(FLAGS) | $(GENERATED)
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/%.asm.o: %.asm $(BUILD)/asm_offsets.inc $(FLAGS)
	@mkdir -p $(@D)
	@echo '  NASM    $<'
	$(Q)nasm $(NASMFLAGS) -MD $(@:.o=.d) -MQ $@ $< -o $@

# C constants for NASM: asm_offsets.c holds asm volatile("\n.ascii \"->NAME %0\"" : : "i"(value)).
$(BUILD)/asm_offsets.inc: $(wildcard arch/x86/asm_offsets.c) Makefile $(FLAGS) | $(GENERATED)
	@mkdir -p $(@D)
	$(Q)if [ -f arch/x86/asm_offsets.c ]; then \
	    $(CC) $(CFLAGS) -MMD -MP -MT $@ -MF $(BUILD)/asm_offsets.d -S arch/x86/asm_offsets.c \
	        -o $(BUILD)/asm_offsets.s; \
	else : > $(BUILD)/asm_offsets.s; fi
	$(Q)sed -n 's/^.*->\([A-Za-z_0-9]*\) [$$]*\(-*[0-9xa-fA-F]*\).*$$/%define \1 \2/p' \
	    $(BUILD)/asm_offsets.s > $@

# DSDT: AML as a C array.
$(BUILD)/%.hex: %.asl
	@mkdir -p $(@D)
	@echo '  IASL    $<'
	$(Q)iasl -p $(BUILD)/$* -tc $< > $(BUILD)/$*.log || { cat $(BUILD)/$*.log; exit 1; }

# Two passes: the symbol table of the first link is linked into the second, behind all text.
LINK := ld -nostdlib -static -z max-page-size=4096 -z noexecstack --fatal-warnings --build-id=none \
        -T arch/x86/hypervisor.ld

$(BUILD)/symbols0.o: tools/mksymbols
	@mkdir -p $(@D)
	$(Q)tools/mksymbols < /dev/null | as -o $@

$(BUILD)/hypervisor.pass1: $(OBJECTS) $(BUILD)/libc.a $(BUILD)/symbols0.o arch/x86/hypervisor.ld
	@echo '  LD      $@'
	$(Q)$(LINK) $(OBJECTS) $(BUILD)/symbols0.o $(BUILD)/libc.a -o $@

$(BUILD)/hypervisor.elf: $(BUILD)/hypervisor.pass1 tools/mksymbols tools/check-elf
	@echo '  LD      $@'
	$(Q)nm $< | tools/mksymbols > $(BUILD)/symbols.S
	$(Q)as $(BUILD)/symbols.S -o $(BUILD)/symbols.o
	$(Q)$(LINK) $(OBJECTS) $(BUILD)/symbols.o $(BUILD)/libc.a -o $@
	$(Q)tools/check-elf $@

# Without debug sections: what the loader carries.
$(BUILD)/hypervisor.stripped: $(BUILD)/hypervisor.elf
	$(Q)strip -o $@ $<

# ---- newlib: the files a kernel needs, compiled with our own flags ----

NEWLIB_FILES := \
    $(addprefix stdlib/,abs labs llabs div ldiv lldiv atoi atol atoll strtol strtoll strtoul strtoull \
        rand_r mlock calloc malloc realloc reallocarray) \
    $(addprefix search/,bsearch qsort) \
    $(addprefix string/,bcmp bzero bcopy explicit_bzero memccpy memchr memcmp memmem memmove mempcpy \
        memrchr rawmemchr stpcpy stpncpy strcasecmp strcasestr strcat strchr strchrnul strcmp strcpy \
        strcspn strdup strdup_r strlcat strlcpy strlen strlwr strncasecmp strncat strncmp strncpy \
        strndup strndup_r strnlen strnstr strpbrk strrchr strsep strspn strstr strtok strtok_r strupr \
        strverscmp) \
    $(addprefix ctype/,ctype_ isalnum isalpha isascii isblank iscntrl isdigit islower isprint ispunct \
        isspace isupper isxdigit toascii tolower toupper) \
    $(addprefix stdio/,snprintf vsnprintf sprintf vsprintf) \
    $(addprefix reent/,impure reent sbrkr) errno/errno \
    $(addprefix locale/,locale localeconv) stdlib/mbtowc_r stdlib/wctomb_r
NEWLIB_MALLOC  := MALLOC FREE CALLOC REALLOC MALLOC_USABLE_SIZE
NEWLIB_OBJECTS := $(NEWLIB_FILES:%=$(BUILD)/libc/%.o) $(BUILD)/libc/svfiprintf.o \
                  $(NEWLIB_MALLOC:%=$(BUILD)/libc/nano-%.o) \
                  $(BUILD)/libc/memcpy.o $(BUILD)/libc/memset.o $(BUILD)/libc/setjmp.o

# Loops must not become calls of the very function that they implement.
NEWLIB_CFLAGS := -std=gnu11 $(FREESTANDING) -fno-tree-loop-distribute-patterns -w $(LIBC_HEADERS) \
                 -I$(NEWLIB)/stdlib -I$(NEWLIB)/string -I$(NEWLIB)/stdio -I$(NEWLIB)/ctype \
                 -D_COMPILING_NEWLIB -DINTERNAL_NEWLIB -DMISSING_SYSCALL_NAMES -D_svfprintf_r=_svfiprintf_r -D__USER_LABEL_PREFIX__= \
                 -D_I386MACH_NEED_SOTYPE_FUNCTION

# The two headers that newlib's configure would write.
define NEWLIB_H
#ifndef __NEWLIB_H__
#define __NEWLIB_H__ 1
#define _NEWLIB_VERSION "3.3.0"
#define _WANT_IO_C99_FORMATS 1
#define _WANT_IO_LONG_LONG 1
#define _WANT_REENT_SMALL 1
#define _MB_LEN_MAX 1
#define _LITE_EXIT 1
#define _HAVE_LONG_DOUBLE 1
#define _HAVE_CC_INHIBIT_LOOP_TO_LIBCALL 1
#endif
endef
export NEWLIB_H

$(BUILD)/libc/newlib.h: Makefile
	@mkdir -p $(@D) $(BUILD)/newlib
	@echo '  TAR     newlib'
	$(Q)tar xf $(firstword $(wildcard /usr/src/newlib/newlib-*.tar.xz)) -C $(BUILD)/newlib \
	    --strip-components=2 --wildcards '*/newlib/libc/*'
	$(Q)echo "$$NEWLIB_H" > $@
	$(Q)printf '#define _NEWLIB_VERSION "3.3.0"\n#define __NEWLIB__ 3\n#define __NEWLIB_MINOR__ 3\n' \
	    > $(BUILD)/libc/_newlib_version.h

# The one header of the host's that the hypervisor uses: all of the library is in it.
$(BUILD)/libc/xxhash.h: $(wildcard /usr/include/xxhash.h)
	@mkdir -p $(@D)
	cp $< $@

define newlib_object
	@mkdir -p $(@D)
	$(Q)$(CC) $(NEWLIB_CFLAGS) $(1) -c -o $@
endef

$(BUILD)/libc/%.o: | $(BUILD)/libc/newlib.h
	$(call newlib_object,$(NEWLIB)/$*.c)
$(BUILD)/libc/svfiprintf.o: | $(BUILD)/libc/newlib.h
	$(call newlib_object,-DSTRING_ONLY -DINTEGER_ONLY $(NEWLIB)/stdio/vfprintf.c)
$(BUILD)/libc/nano-%.o: | $(BUILD)/libc/newlib.h
	$(call newlib_object,-DDEFINE_$* -DINTERNAL_NEWLIB $(NEWLIB)/stdlib/nano-mallocr.c)
$(BUILD)/libc/memcpy.o $(BUILD)/libc/memset.o $(BUILD)/libc/setjmp.o: | $(BUILD)/libc/newlib.h
	$(call newlib_object,$(NEWLIB)/machine/x86_64/$(basename $(@F)).S)

$(BUILD)/libc.a: $(NEWLIB_OBJECTS) Makefile
	@rm -f $@
	@echo '  AR      $@'
	$(Q)ar rcs $@ $(NEWLIB_OBJECTS)

# ---- the loader: a UEFI application with the hypervisor inside ----

PAYLOAD        ?= $(BUILD)/hypervisor.stripped
LOADER_SOURCES := $(wildcard boot/*.c) base/config_text.c
LOADER_OBJECTS := $(LOADER_SOURCES:%.c=$(BUILD)/%.efi.o) $(BUILD)/boot/payload.efi.o
LOADER_CFLAGS  := -std=c11 -ffreestanding -fpic -fshort-wchar -fno-stack-protector -mno-red-zone \
                  -mgeneral-regs-only -fcf-protection=none -fno-strict-aliasing -maccumulate-outgoing-args \
                  -O2 -g -DGNU_EFI_USE_MS_ABI $(WARNINGS) -I. \
                  -isystem /usr/include/efi -isystem /usr/include/efi/x86_64

$(BUILD)/%.efi.o: %.c
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)$(CC) $(LOADER_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/boot/payload.efi.o: boot/payload.S $(PAYLOAD)
	@mkdir -p $(@D)
	$(Q)$(CC) -DPAYLOAD='"$(PAYLOAD)"' -c $< -o $@

$(BUILD)/loader.so: $(LOADER_OBJECTS)
	@echo '  LD      $@'
	$(Q)ld -nostdlib -znocombreloc -z noexecstack --no-warn-rwx-segments -shared -Bsymbolic \
	    -T /usr/lib/elf_x86_64_efi.lds /usr/lib/crt0-efi-x86_64.o $(LOADER_OBJECTS) \
	    -L /usr/lib -lgnuefi -o $@

$(BUILD)/BOOTX64.EFI: $(BUILD)/loader.so
	@echo '  EFI     $@'
	$(Q)objcopy -j .text -j .sdata -j .data -j .rodata -j .dynamic -j .dynsym -j '.rel*' -j '.rela*' \
	    -j .reloc --target efi-app-x86_64 --subsystem=10 $< $@

# ---- tools/spillway check: the parser and the admission, on the host ----

# Only what it calls of them is linked.
CHECK_SOURCES := tools/check-config.c base/config_text.c $(wildcard hv/config/*.c) \
                 drivers/uart.c mm/space/space.c mm/tmem/tmem.c mm/tmem/table.c mm/frame/frame_array.c mm/frame/frame_alloc.c mm/frame/buddy.c mm/content/store.c
CHECK_CFLAGS  := -std=gnu11 -O1 -g $(WARNINGS) -I. -isystem $(BUILD)/check -ffunction-sections \
                 -fdata-sections -Wl,--gc-sections

$(BUILD)/check/sys/tree.h: $(BUILD)/libc/newlib.h
	@mkdir -p $(@D)
	$(Q)cp $(NEWLIB)/include/sys/tree.h $@

$(BUILD)/check-config: $(CHECK_SOURCES) $(wildcard hv/*.h hv/*/*.h hv/*/*/*.h mm/*.h mm/*/*.h base/*.h) | $(BUILD)/check/sys/tree.h
	@echo '  CC      tools/check-config.c'
	$(Q)$(CC) $(CHECK_CFLAGS) $(CHECK_SOURCES) -o $@

# ---- guests: Debian's kernel, an initramfs, bare-metal test guests ----

GUEST        := $(BUILD)/guest
GUEST_CFLAGS := -std=gnu11 -O2 -static -s $(WARNINGS)
BARE_GUESTS  := $(patsubst guests/bare/%.asm,$(GUEST)/%.elf,$(wildcard guests/bare/*.asm))

.PHONY: guests
guests: $(GUEST)/vmlinuz $(GUEST)/initrd.img $(GUEST)/initrd-tmem.img $(GUEST)/initrd-swap.img \
        $(GUEST)/initrd-kexec.img $(GUEST)/memtest-x64.bin $(BARE_GUESTS)

# Behind the kernel: there are package lists then.
$(GUEST)/memtest-x64.bin: guests/memtest-binaries | $(GUEST)/vmlinuz
	@echo '  FETCH   memtest86+'
	$(Q)guests/memtest-binaries fetch $(@D)
	@touch $@

$(GUEST)/vmlinuz: guests/linux-kernel
	@echo '  FETCH   linux-image-cloud-amd64'
	$(Q)guests/linux-kernel fetch $(@D)
	@touch $@

$(GUEST)/init: guests/init/init.c
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)$(CC) $(GUEST_CFLAGS) -ffreestanding -fno-stack-protector -nostdlib -fno-asynchronous-unwind-tables \
	    -Wl,--build-id=none -Wl,-z,noseparate-code $< -o $@

# With musl 46 KiB instead of 760, in a guest that is to fill all of its memory.
$(GUEST)/memcheck: guests/memcheck/memcheck.c
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)musl-gcc $(GUEST_CFLAGS) -pthread $< -o $@

$(GUEST)/load: guests/load/load.c
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)musl-gcc $(GUEST_CFLAGS) -pthread $< -o $@

# Not compressed: unpacking takes an emulated guest longer than reading it takes the loader.
$(GUEST)/initrd.img: $(GUEST)/init $(GUEST)/memcheck $(GUEST)/load $(GUEST)/vmlinuz Makefile
	@echo '  CPIO    $@'
	$(Q)rm -rf $(GUEST)/root
	$(Q)mkdir -p $(GUEST)/root/bin $(GUEST)/root/lib
	$(Q)cp $(GUEST)/init $(GUEST)/root/init
	$(Q)cp $(GUEST)/memcheck $(GUEST)/load /bin/busybox $(GUEST)/root/bin/
	$(Q)cp $(GUEST)/modules/button.ko $(GUEST)/modules/evdev.ko $(GUEST)/root/lib/
	$(Q)cd $(GUEST)/root && find . | cpio --quiet -o -H newc -R 0:0 > ../initrd.img

$(GUEST)/kexec: guests/kexec/kexec.c
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)$(CC) $(GUEST_CFLAGS) $< -o $@

# The usual one, with itself and a kernel to start from inside.
$(GUEST)/initrd-kexec.img: $(GUEST)/initrd.img $(GUEST)/kexec guests/kexec/again guests/kexec/crash
	@echo '  CPIO    $@'
	$(Q)rm -rf $(GUEST)/root-kexec
	$(Q)cp -r $(GUEST)/root $(GUEST)/root-kexec
	$(Q)mkdir $(GUEST)/root-kexec/boot
	$(Q)cp $(GUEST)/vmlinuz $(GUEST)/initrd.img $(GUEST)/root-kexec/boot/
	$(Q)cp $(GUEST)/kexec guests/kexec/again guests/kexec/crash $(GUEST)/root-kexec/bin/
	$(Q)cd $(GUEST)/root-kexec && find . | cpio --quiet -o -H newc -R 0:0 > ../initrd-kexec.img

# The kernel module, against the headers of the kernel that was fetched.
TMEM_SOURCES := $(wildcard guests/linux/*.[ch]) guests/linux/Kbuild guests/include/spillway_tmem.h
# Debian's is built with BTF, which needs a program more and that nobody here reads.
KBUILD_QUIET := CONFIG_DEBUG_INFO_BTF_MODULES= -s

$(GUEST)/headers/build: guests/linux/fetch-headers $(GUEST)/vmlinuz
	$(eval PACKAGE = $(shell sed s/-image-/-headers-/ $(GUEST)/vmlinuz.package 2>/dev/null))
	@echo '  FETCH   $(PACKAGE)'
	$(Q)guests/linux/fetch-headers $(PACKAGE) $(@D)
	@touch -h $@

$(GUEST)/spillway_tmem.ko: $(TMEM_SOURCES) $(GUEST)/headers/build
	@mkdir -p $(GUEST)/module
	@echo '  KBUILD  $@'
	$(Q)cp $(TMEM_SOURCES) $(GUEST)/module/
	$(Q)env -u MAKEFLAGS $(MAKE) $(KBUILD_QUIET) -C $(GUEST)/headers/build M=$(abspath $(GUEST)/module) modules
	$(Q)strip --strip-debug $(GUEST)/module/spillway_tmem.ko -o $@

# Does the module compile against the headers of another kernel?  HEADERS_OF names Debian's package.
HEADERS_OF ?= $(shell apt-cache search --names-only '^linux-headers-6\.1[2-9].*-cloud-amd64$$' | sort -V | tail -n 1 | cut -d' ' -f1)
.PHONY: check-module
check-module:
	guests/linux/fetch-headers $(HEADERS_OF) $(GUEST)/headers-other
	@mkdir -p $(GUEST)/module-other
	@cp $(TMEM_SOURCES) $(GUEST)/module-other/
	$(call check,module compiles with $(HEADERS_OF),env -u MAKEFLAGS $(MAKE) $(KBUILD_QUIET) \
	    -C $(GUEST)/headers-other/build M=$(abspath $(GUEST)/module-other) modules)

$(GUEST)/tmemcache: $(wildcard guests/tmemcache/*.[ch]) guests/linux/spillway_tmem_ioctl.h
	@mkdir -p $(@D)
	@echo '  CC      guests/tmemcache'
	$(Q)$(CC) $(GUEST_CFLAGS) -Iguests/linux $(filter %.c,$^) -o $@

$(GUEST)/tmemtest: guests/linux/test/tmemtest.c guests/linux/spillway_tmem_ioctl.h
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)$(CC) $(GUEST_CFLAGS) -Iguests/linux $< -o $@

TMEM_PROGRAMS := $(GUEST)/memcheck $(GUEST)/tmemcache $(GUEST)/tmemtest \
                 guests/linux/test/tmem-swap guests/linux/test/tmem-block guests/linux/test/tmem-full \
                 guests/linux/test/tmem-full-swap
$(GUEST)/initrd-tmem.img: $(GUEST)/init $(GUEST)/spillway_tmem.ko $(TMEM_PROGRAMS) Makefile
	@echo '  CPIO    $@'
	$(Q)rm -rf $(GUEST)/root-tmem
	$(Q)mkdir -p $(GUEST)/root-tmem/bin $(GUEST)/root-tmem/lib $(GUEST)/root-tmem/run
	$(Q)cp $(GUEST)/init $(GUEST)/root-tmem/init
	$(Q)cp $(GUEST)/spillway_tmem.ko $(GUEST)/root-tmem/lib/
	$(Q)cp $(TMEM_PROGRAMS) /bin/busybox $(GUEST)/root-tmem/bin/
	$(Q)cd $(GUEST)/root-tmem && find . | cpio --quiet -o -H newc -R 0:0 > ../initrd-tmem.img

# For a guest that is to have all of its memory for memcheck: no shell, nothing else.
$(GUEST)/initrd-swap.img: $(GUEST)/init $(GUEST)/spillway_tmem.ko $(GUEST)/memcheck Makefile
	@echo '  CPIO    $@'
	$(Q)rm -rf $(GUEST)/root-swap
	$(Q)mkdir -p $(GUEST)/root-swap/bin $(GUEST)/root-swap/lib
	$(Q)cp $(GUEST)/init $(GUEST)/root-swap/init
	$(Q)cp $(GUEST)/memcheck $(GUEST)/root-swap/bin/
	$(Q)cp $(GUEST)/spillway_tmem.ko $(GUEST)/root-swap/lib/
	$(Q)cd $(GUEST)/root-swap && find . | cpio --quiet -o -H newc -R 0:0 > ../initrd-swap.img

$(GUEST)/%.elf: guests/bare/%.asm $(wildcard guests/bare/*.inc) guests/bare/bare.ld
	@mkdir -p $(@D)
	@echo '  NASM    $<'
	$(Q)nasm -felf32 -Iguests/bare/ $< -o $(GUEST)/$*.o
	$(Q)ld -m elf_i386 -nostdlib --no-warn-rwx-segments -T guests/bare/bare.ld $(GUEST)/$*.o -o $@

# ---- run ----

.PHONY: packages run demo
packages:
	@tools/install-packages

# The second make starts when everything that it asks about itself is installed.
run: packages
	@$(MAKE) --no-print-directory demo

demo: $(BUILD)/demo.img
	tools/spillway run --image $< --emu $(EMU) --disk $(DISK) --cpus $(CPUS) --memory 768M --store 1G

$(BUILD)/demo.img: guests/demo.conf $(BUILD)/BOOTX64.EFI $(GUEST)/vmlinuz $(GUEST)/initrd.img \
                   tools/spillway $(wildcard tools/spillway_run/*.py)
	BUILD=$(BUILD) tools/spillway image --config $< --file $(GUEST)/vmlinuz \
	    --file $(GUEST)/initrd.img -o $@

# ---- test ----

.PHONY: test check soak acceptance bench kernels kut testdev
test: packages
	@BUILD=$(BUILD) MAKE="$(MAKE)" tools/run-tests

export BUILD
soak: all guests
	SOAK_SECONDS=3600 tests/emu/run soak

# Three guests of 256 MiB on every emulator, kind of disk and number of CPUs.
acceptance: all guests
	tests/emu/run -j 1 acceptance

# A hypervisor with the test device, and with the checker of lock ranks, for the cases that need them.
testdev:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/testdev TESTDEV=1 DEBUG=1 $(BUILD)/testdev/BOOTX64.EFI

# A user's checkout of kvm-unit-tests, built, as guests: in a build of its own, with their test device.
kut:
	@test -n '$(KUT)' || { echo 'usage: make kut KUT=DIRECTORY [KUT_ARGUMENTS=...]'; exit 2; }
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/kut TESTDEV=1 all
	BUILD=$(BUILD)/kut tests/emu/kut $(KUT_ARGUMENTS) $(KUT)

# Debian's kernels of other releases, which are fetched first, as guests.
kernels: all guests $(GUEST)/kernels/initrd-i386.img
	tests/emu/run kernels

$(GUEST)/kernels/6.1.vmlinuz: guests/kernels/fetch
	$(Q)guests/kernels/fetch $(@D)
	@touch $@

$(GUEST)/kernels/initrd-i386.img: guests/kernels/init-i386 $(GUEST)/kernels/6.1.vmlinuz
	@echo '  CPIO    $@'
	$(Q)rm -rf $(GUEST)/root-i386
	$(Q)mkdir -p $(GUEST)/root-i386/bin
	$(Q)cp $< $(GUEST)/root-i386/init
	$(Q)cp $(@D)/busybox-i386 $(GUEST)/root-i386/bin/busybox
	$(Q)cd $(GUEST)/root-i386 && find . | cpio --quiet -o -H newc -R 0:0 > $(abspath $@)

bench: all guests
	tests/bench/run

-include tests/unit/unit.mk
-include tests/fuzz/fuzz.mk

# Each check prints what is wrong, then one line.
define check
	@if $(2); then echo 'check: PASS $(1)'; else echo 'check: FAIL $(1)'; exit 1; fi
endef

.PHONY: check-format check-layers check-docs check-checks check-headers check-clang check-elf
check: check-format check-layers check-docs check-checks check-headers check-clang check-elf

check-format:
	$(call check,format,tools/check-format)

check-layers:
	$(call check,layers and rooms and include cycles,tools/check-layers)

check-docs:
	$(call check,files that the documents name,tools/check-docs)

# Do they find what is planted for them?
check-checks:
	$(call check,planted faults are found,tests/checks/run)

check-elf: $(BUILD)/hypervisor.elf
	$(call check,W^X and no vector code,tools/check-elf $<)

# A header includes all that it needs.
HEADERS := $(wildcard $(SOURCE_DIRS:%=%/*.h)) boot/handover.h
check-headers: $(GENERATED)
	$(call check,headers are self-contained, \
	    printf '%s\n' $(HEADERS) | xargs -P 2 -I{} $(CC) $(CFLAGS) -fsyntax-only \
	    -Wno-unused-function -include {} -x c /dev/null)

CLANG_CFLAGS = $(subst $(GCC_INCLUDE),$(shell $(CLANG) -print-resource-dir)/include,$(CFLAGS))
check-clang: $(GENERATED)
	$(call check,clang compiles it, \
	    printf '%s\n' $(C_SOURCES) | xargs -P 2 -n 8 $(CLANG) $(CLANG_CFLAGS) -fsyntax-only && \
	    $(CLANG) $(filter-out -maccumulate-outgoing-args,$(LOADER_CFLAGS)) -fsyntax-only \
	    $(LOADER_SOURCES))

# ---- the rest ----

.PHONY: clean help
clean:
	rm -rf $(BUILD)

help:
	@echo 'make          builds $(BUILD)/BOOTX64.EFI'
	@echo 'make run      boots the demo on this terminal [EMU=qemu|bochs] [DISK=nvme|virtio|ata] [CPUS=N]'
	@echo 'make test     every test; parts: make check, make unit, tests/emu/run'
	@echo 'make guests   kernel, initramfs and bare-metal guests in $(BUILD)/guest'
	@echo 'make bench    the tables of docs/benchmarks.md'
	@echo 'make testdev  a hypervisor with the test device, in $(BUILD)/testdev'
	@echo 'make soak     one hour of random commands'
	@echo 'make acceptance  the demo at full size on both emulators, all disks, 1 and 2 CPUs'
	@echo 'make kut KUT=DIR [KUT_ARGUMENTS="--emu qemu"]  kvm-unit-tests as guests'
	@echo 'make kernels  fetches Debian kernels of other releases and flavours, and boots them as guests'
	@echo 'make mutations   breaks each rule once: its test must fail'
	@echo 'make fuzz-hypercall [FUZZ_RUNS=N]  the tmem hypercall under libFuzzer'
	@echo 'make check-module [HEADERS_OF=PACKAGE]  does the Linux module compile for another kernel'
	@echo 'make clean    removes $(BUILD)'
	@echo 'V=1 shows the commands, BUILD=DIR builds elsewhere, DEBUG=1 keeps asserts'

-include $(OBJECTS:.o=.d) $(LOADER_OBJECTS:.o=.d) $(BUILD)/asm_offsets.d
