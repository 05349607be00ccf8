# SPDX-License-Identifier: BSD-2-Clause
# Fuzzing with clang's libFuzzer, ASan and UBSan.
#
#     make fuzz-hypercall [FUZZ_RUNS=N]     N inputs, from what earlier runs have found

FUZZ_RUNS   ?= 200000
FUZZ_DIR    := $(BUILD)/fuzz
FUZZ_CFLAGS := -std=gnu11 -g -O1 -I. -I$(FUZZ_DIR) -fno-omit-frame-pointer -pthread \
               -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZ_SOURCES := tests/fuzz/fuzz_hypercall.c hv/hypercall.c hv/hypercall_tmem.c $(wildcard mm/*.c) \
                base/lock_debug.c tests/unit/support.c tests/unit/support_memory.c \
                tests/unit/support_store.c tests/unit/fake_format.c tests/unit/fake_disk.c

$(FUZZ_DIR)/fuzz_hypercall: $(FUZZ_SOURCES) $(wildcard mm/*.h hv/*.h guests/include/*.h)
	@mkdir -p $(@D)
	@echo '  FUZZ    $@'
	@clang-14 $(FUZZ_CFLAGS) $(FUZZ_SOURCES) -Wl,--wrap=frame_alloc -o $@

.PHONY: fuzz-hypercall
fuzz-hypercall: $(FUZZ_DIR)/fuzz_hypercall
	@mkdir -p $(FUZZ_DIR)/corpus-hypercall
	@$< -runs=$(FUZZ_RUNS) -max_len=600 -print_final_stats=1 -artifact_prefix=$(FUZZ_DIR)/ \
	    $(FUZZ_DIR)/corpus-hypercall
