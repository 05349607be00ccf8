# SPDX-License-Identifier: BSD-2-Clause
# What runs inside, in $(BUILD)/guest: Debian's kernel, initial RAM disks, bare-metal test guests.

GUEST        := $(BUILD)/guest
GUEST_CFLAGS := -std=gnu11 -O2 -static -s $(WARNINGS)
BARE_GUESTS  := $(patsubst guests/bare/%.asm,$(GUEST)/%.elf,$(wildcard guests/bare/*.asm))

.PHONY: guests
guests: $(GUEST)/vmlinuz $(GUEST)/initrd.img $(GUEST)/initrd-tmem.img $(GUEST)/initrd-swap.img \
        $(GUEST)/initrd-kexec.img $(GUEST)/initrd-virtio.img $(GUEST)/memtest-x64.bin $(BARE_GUESTS)

# Behind the kernel: there are package lists then.
$(GUEST)/memtest-x64.bin: guests/memtest-binaries | $(GUEST)/vmlinuz
	@echo '  FETCH   memtest86+'
	$(Q)guests/memtest-binaries fetch $(@D)
	@touch $@

$(GUEST)/vmlinuz: guests/linux-kernel
	@echo '  FETCH   linux-image-cloud-amd64'
	$(Q)guests/linux-kernel fetch $(@D)
	@touch $@

# Only for `make debian` and tests/bench/work.
$(GUEST)/debian/disk.img: guests/debian/build guests/debian/configure guests/debian/work
	$(Q)guests/debian/build $(@D)

$(GUEST)/init: guests/init/init.c
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)$(CC) $(GUEST_CFLAGS) -ffreestanding -fno-stack-protector -nostdlib -fno-asynchronous-unwind-tables \
	    -Wl,--build-id=none -Wl,-z,noseparate-code $< -o $@

# With musl 46 KiB instead of 760, in a guest that is to fill all of its memory.
$(GUEST)/memcheck: guests/memcheck/memcheck.c guests/include/mix.h
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)musl-gcc $(GUEST_CFLAGS) -I. -pthread $< -o $@

$(GUEST)/load: guests/load/load.c
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)musl-gcc $(GUEST_CFLAGS) -pthread $< -o $@

$(GUEST)/diskcheck: guests/diskcheck/diskcheck.c guests/include/mix.h
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)musl-gcc $(GUEST_CFLAGS) -I. $< -o $@

$(GUEST)/vectors: guests/vectors/vectors.c guests/include/mix.h
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)$(CC) $(GUEST_CFLAGS) -I. $< -o $@

$(GUEST)/netbench: guests/netbench/netbench.c guests/include/bench.h
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)musl-gcc $(GUEST_CFLAGS) -I. $< -o $@

$(GUEST)/diskbench: guests/diskbench/diskbench.c guests/include/bench.h guests/include/mix.h
	@mkdir -p $(@D)
	@echo '  CC      $<'
	$(Q)$(CC) $(GUEST_CFLAGS) -I. $< -o $@

# Not compressed: unpacking takes an emulated guest longer than reading it takes the loader.
$(GUEST)/initrd.img: $(GUEST)/init $(GUEST)/memcheck $(GUEST)/load $(GUEST)/vmlinuz guests/guests.mk
	@echo '  CPIO    $@'
	$(Q)rm -rf $(GUEST)/root
	$(Q)mkdir -p $(GUEST)/root/bin $(GUEST)/root/lib
	$(Q)cp $(GUEST)/init $(GUEST)/root/init
	$(Q)cp $(GUEST)/memcheck $(GUEST)/load /bin/busybox $(GUEST)/root/bin/
	$(Q)cp $(GUEST)/modules/button.ko $(GUEST)/modules/evdev.ko $(GUEST)/root/lib/
	$(Q)cd $(GUEST)/root && find . | cpio --quiet -o -H newc -R 0:0 > ../initrd.img

# The usual one, with drivers of virtio devices.
$(GUEST)/initrd-virtio.img: $(GUEST)/initrd.img $(GUEST)/diskcheck $(GUEST)/vectors
	@echo '  CPIO    $@'
	$(Q)rm -rf $(GUEST)/root-virtio
	$(Q)cp -r $(GUEST)/root $(GUEST)/root-virtio
	$(Q)cp $(GUEST)/modules/virtio*.ko $(GUEST)/modules/*failover.ko $(GUEST)/root-virtio/lib/
	$(Q)cp $(GUEST)/diskcheck $(GUEST)/vectors $(GUEST)/root-virtio/bin/
	$(Q)cd $(GUEST)/root-virtio && find . | cpio --quiet -o -H newc -R 0:0 > ../initrd-virtio.img

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
$(GUEST)/initrd-tmem.img: $(GUEST)/init $(GUEST)/spillway_tmem.ko $(TMEM_PROGRAMS) guests/guests.mk
	@echo '  CPIO    $@'
	$(Q)rm -rf $(GUEST)/root-tmem
	$(Q)mkdir -p $(GUEST)/root-tmem/bin $(GUEST)/root-tmem/lib $(GUEST)/root-tmem/run
	$(Q)cp $(GUEST)/init $(GUEST)/root-tmem/init
	$(Q)cp $(GUEST)/spillway_tmem.ko $(GUEST)/root-tmem/lib/
	$(Q)cp $(TMEM_PROGRAMS) /bin/busybox $(GUEST)/root-tmem/bin/
	$(Q)cd $(GUEST)/root-tmem && find . | cpio --quiet -o -H newc -R 0:0 > ../initrd-tmem.img

# For a guest that is to have all of its memory for memcheck: no shell, nothing else.
$(GUEST)/initrd-swap.img: $(GUEST)/init $(GUEST)/spillway_tmem.ko $(GUEST)/memcheck guests/guests.mk
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

# ---- Debian's kernels of other releases: `make kernels` ----

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
