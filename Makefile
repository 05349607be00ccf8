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
TESTDEV_OUT := $(if $(TESTDEV),hv/vdev/testdev_none.c,hv/vdev/testdev.c hv/vdev/testdev_disk.c)
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

# ---- what else there is to build ----

include hv/libc.mk           # the C library of the hypervisor
include boot/loader.mk       # BOOTX64.EFI
include guests/guests.mk     # what runs inside
include tools/check-config.mk

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

.PHONY: test check soak acceptance bench kernels debian kut testdev
test: packages
	@BUILD=$(BUILD) MAKE="$(MAKE)" tools/run-tests

export BUILD
soak: all guests
	SOAK_SECONDS=3600 tests/emu/run soak

# Three guests of 256 MiB on every emulator, kind of disk and number of CPUs; then what is too long for
# `make test`, of which a shorter case of the same kind is there.
acceptance: all guests testdev
	tests/emu/run -j 1 acceptance
	tests/emu/run --long

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

# Whole Debians on disks of their own, built first.
debian: all guests $(GUEST)/debian/disk.img
	tests/emu/run -j 1 debian

bench: all guests
	tests/bench/run
	tests/bench/disk
	tests/bench/net
	tests/bench/work

include tests/checks/checks.mk
-include tests/unit/unit.mk
-include tests/fuzz/fuzz.mk

# ---- the rest ----

.PHONY: clean help
clean:
	rm -rf $(BUILD)

help:
	@echo 'make          builds $(BUILD)/BOOTX64.EFI'
	@echo 'make run      boots the demo on this terminal [EMU=qemu|bochs] [DISK=nvme|virtio|ata] [CPUS=N]'
	@echo 'make test     every test; parts: make check, make unit, tests/emu/run'
	@echo 'make guests   kernel, initramfs and bare-metal guests in $(BUILD)/guest'
	@echo 'make bench    the tables of docs/benchmarks.md; the last part builds the image of make debian and takes an hour'
	@echo 'make testdev  a hypervisor with the test device, in $(BUILD)/testdev'
	@echo 'make soak     one hour of random commands'
	@echo 'make acceptance  the demo at full size on both emulators, all disks, 1 and 2 CPUs; the long cases'
	@echo 'make kut KUT=DIR [KUT_ARGUMENTS="--emu qemu"]  kvm-unit-tests as guests'
	@echo 'make debian   builds a Debian with systemd, sshd, PostgreSQL, Redis and nginx, and runs it as guests'
	@echo 'make kernels  fetches Debian kernels of other releases and flavours, and boots them as guests'
	@echo 'make mutations   breaks each rule once: its test must fail'
	@echo 'make fuzz-hypercall [FUZZ_RUNS=N]  the tmem hypercall under libFuzzer'
	@echo 'make fuzz-virtq [FUZZ_RUNS=N]  a virtio device, its registers and rings'
	@echo 'make check-module [HEADERS_OF=PACKAGE]  does the Linux module compile for another kernel'
	@echo 'make clean    removes $(BUILD)'
	@echo 'V=1 shows the commands, BUILD=DIR builds elsewhere, DEBUG=1 keeps asserts'

-include $(OBJECTS:.o=.d) $(LOADER_OBJECTS:.o=.d) $(BUILD)/asm_offsets.d
