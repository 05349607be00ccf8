# SPDX-License-Identifier: BSD-2-Clause
# Fuzzing with clang's libFuzzer, ASan and UBSan.
#
#     make fuzz-hypercall [FUZZ_RUNS=N]     N inputs, from what earlier runs have found: whole calls
#     make fuzz-decode [FUZZ_RUNS=N]        the decoder of one entry

FUZZ_RUNS    ?= 200000
FUZZ_DIR     := $(BUILD)/fuzz
FUZZ_TARGETS := hypercall decode
FUZZ_CFLAGS  := -std=gnu11 -g -O1 -I. -fno-omit-frame-pointer -pthread -ffunction-sections \
                -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZ_LINK    := -Wl,--wrap=frame_alloc
# What hv/ needs of the machine is in fuzz_hypercall.c; the decoder's target has no machine.
FUZZ_SOURCES_hypercall := tests/fuzz/fuzz_hypercall.c hv/hypercall.c hv/hypercall_tmem.c \
                hv/hypercall_tmem_decode.c $(wildcard mm/*.c) base/lock_debug.c tests/unit/support.c \
                tests/unit/support_memory.c tests/unit/support_store.c tests/unit/fake_format.c \
                tests/unit/fake_disk.c
FUZZ_SOURCES_decode := tests/fuzz/fuzz_decode.c hv/hypercall_tmem_decode.c
FUZZ_HEADERS := $(wildcard mm/*.h hv/*.h base/*.h guests/include/*.h)

.PHONY: $(FUZZ_TARGETS:%=fuzz-%)

define fuzz-target
$(FUZZ_DIR)/fuzz_$(1): $(FUZZ_SOURCES_$(1)) $(FUZZ_HEADERS)
	@mkdir -p $$(@D)
	@echo '  FUZZ    $$@'
	@clang-14 $(FUZZ_CFLAGS) $(FUZZ_SOURCES_$(1)) $(if $(filter hypercall,$(1)),$(FUZZ_LINK)) -o $$@

fuzz-$(1): $(FUZZ_DIR)/fuzz_$(1)
	@mkdir -p $(FUZZ_DIR)/corpus-$(1)
	@$$< -runs=$(FUZZ_RUNS) -max_len=$(if $(filter hypercall,$(1)),600,64) -print_final_stats=1 \
	    -artifact_prefix=$(FUZZ_DIR)/ $(FUZZ_DIR)/corpus-$(1)
endef
$(foreach target,$(FUZZ_TARGETS),$(eval $(call fuzz-target,$(target))))
