# SPDX-License-Identifier: BSD-2-Clause
# Fuzzing with clang's libFuzzer, ASan and UBSan.
#
#     make fuzz-hypercall [FUZZ_RUNS=N]     N inputs, from what earlier runs have found: whole calls
#     make fuzz-decode [FUZZ_RUNS=N]        the decoder of one entry
#     make fuzz-load [FUZZ_RUNS=N]          the guest loader
#     make fuzz-virtq [FUZZ_RUNS=N]         a virtio device: registers and rings
#     make fuzz-short                       a fixed sequence of each, from nothing: part of `make test`

FUZZ_RUNS    ?= 200000
FUZZ_DIR     := $(BUILD)/fuzz
FUZZ_TARGETS := hypercall decode load virtq
FUZZ_COMMON  := -std=gnu11 -g -O1 -I. -isystem $(UNIT_DIR) -fno-omit-frame-pointer -pthread \
                -ffunction-sections -fsanitize=address,undefined -fno-sanitize-recover=all
# The comparisons of hv/ are traced, so that the fuzzer finds its constants.  Below it, edges are
# counted only: every look at a bucket or a frame would be traced, and that took most of the time.
FUZZ_CC       := clang-14 $(FUZZ_COMMON) -fsanitize=fuzzer-no-link
FUZZ_CC_COUNT := clang-14 $(FUZZ_COMMON) -fsanitize-coverage=inline-8bit-counters,pc-table
# What hv/ needs of the machine is in fuzz_hypercall.c; the decoder's target has no machine.
FUZZ_TRACED_hypercall  := tests/fuzz/fuzz_hypercall.c hv/run/hypercall.c hv/run/hypercall_tmem.c \
                hv/run/hypercall_tmem_decode.c hv/run/hypercall_kvm.c
FUZZ_COUNTED_hypercall := $(wildcard mm/*/*.c) base/lock_debug.c tests/unit/support.c \
                tests/unit/support_memory.c tests/unit/support_store.c tests/unit/fake_format.c \
                tests/unit/fake_disk.c
FUZZ_LINK_hypercall    := -Wl,--wrap=frame_alloc,--wrap=frame_alloc_zeroed,--wrap=frame_alloc_promised
FUZZ_TRACED_decode     := tests/fuzz/fuzz_decode.c hv/run/hypercall_tmem_decode.c
FUZZ_TRACED_virtq      := tests/fuzz/fuzz_virtq.c $(wildcard hv/vdev/virtio/virt*.c hv/vdev/pci/*.c)
FUZZ_COUNTED_virtq     := tests/unit/vdev_fake.c tests/unit/virtio_driver.c tests/unit/support.c base/lock_debug.c \
                hv/timer.c $(filter-out $(FUZZ_TRACED_virtq) hv/vdev/testdev.c hv/net/uplink.c, \
                $(wildcard hv/net/*.c hv/vdev/*.c hv/vdev/*/*.c))
FUZZ_LINK_virtq        := -Wl,--wrap=frame_alloc_zeroed
FUZZ_TRACED_load       := tests/fuzz/fuzz_load.c $(wildcard hv/load/*.c)
FUZZ_HEADERS := $(wildcard mm/*.h mm/*/*.h hv/*.h hv/*/*.h hv/*/*/*.h base/*.h guests/include/*.h tests/unit/*.h tests/fuzz/*.h)
# Entropic scheduling (libFuzzer's default) books every edge of every run: a third of the time.
FUZZ_FLAGS   := -entropic=0 -detect_leaks=0 -timeout=30 -print_final_stats=1 \
                -artifact_prefix=$(FUZZ_DIR)/
FUZZ_LENGTH_hypercall := 200
FUZZ_LENGTH_decode    := 64
FUZZ_LENGTH_load      := 1024
FUZZ_SHORT_hypercall  := 20000
FUZZ_SHORT_decode     := 400000
FUZZ_SHORT_load       := 20000
FUZZ_LENGTH_virtq     := 300
FUZZ_SHORT_virtq      := 100000

.PHONY: $(FUZZ_TARGETS:%=fuzz-%) $(FUZZ_TARGETS:%=fuzz-short-%) fuzz-short
fuzz-short: $(FUZZ_TARGETS:%=fuzz-short-%)

$(FUZZ_DIR)/traced/%.o: %.c $(FUZZ_HEADERS) | $(UNIT_DIR)/sys/tree.h $(UNIT_HEX)
	@mkdir -p $(@D)
	@$(FUZZ_CC) -c $< -o $@

$(FUZZ_DIR)/counted/%.o: %.c $(FUZZ_HEADERS) | $(UNIT_DIR)/sys/tree.h $(UNIT_HEX)
	@mkdir -p $(@D)
	@$(FUZZ_CC_COUNT) -c $< -o $@

define fuzz-target
$(FUZZ_DIR)/fuzz_$(1): $(FUZZ_TRACED_$(1):%.c=$(FUZZ_DIR)/traced/%.o) \
                       $(FUZZ_COUNTED_$(1):%.c=$(FUZZ_DIR)/counted/%.o)
	@echo '  FUZZ    $$@'
	@clang-14 $(FUZZ_COMMON) -fsanitize=fuzzer $$^ $(FUZZ_LINK_$(1)) -o $$@

fuzz-$(1): $(FUZZ_DIR)/fuzz_$(1)
	@mkdir -p $(FUZZ_DIR)/corpus-$(1)
	@$$< -runs=$(FUZZ_RUNS) -max_len=$(FUZZ_LENGTH_$(1)) $(FUZZ_FLAGS) $(FUZZ_DIR)/corpus-$(1)

fuzz-short-$(1): $(FUZZ_DIR)/fuzz_$(1)
	@$$< -runs=$(FUZZ_SHORT_$(1)) -seed=1 -len_control=0 -max_len=$(FUZZ_LENGTH_$(1)) $(FUZZ_FLAGS) \
	    > $(FUZZ_DIR)/short-$(1).log 2>&1 \
	    && echo 'check: PASS fuzz-$(1), $(FUZZ_SHORT_$(1)) inputs' \
	    || { tail -n 40 $(FUZZ_DIR)/short-$(1).log; echo 'check: FAIL fuzz-$(1)'; exit 1; }
endef
$(foreach target,$(FUZZ_TARGETS),$(eval $(call fuzz-target,$(target))))
