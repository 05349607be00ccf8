# SPDX-License-Identifier: BSD-2-Clause
# The hypervisor's C library: the files of newlib that a kernel needs, compiled with our own flags.

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

$(BUILD)/libc/newlib.h: hv/libc.mk
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

$(BUILD)/libc.a: $(NEWLIB_OBJECTS) hv/libc.mk
	@rm -f $@
	@echo '  AR      $@'
	$(Q)ar rcs $@ $(NEWLIB_OBJECTS)
