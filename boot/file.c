/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * spillway.conf and the files that it names, from the volume that the loader came from.  The
 * loader only looks which keys name a file; it leaves missing files to hv/config/config.c, which
 * checks everything and reports all that is wrong.
 */
#include "base/config_text.h"
#include "boot/loader.h"

#define CONFIG_NAME  "spillway.conf"
#define CONFIG_BYTES (1u << 20)

static EFI_FILE_HANDLE volume;

static void volume_open(void)
{
    EFI_GUID image_guid = LOADED_IMAGE_PROTOCOL;
    EFI_GUID system_guid = SIMPLE_FILE_SYSTEM_PROTOCOL;
    void *image, *file_system;

    if (loader.boot->HandleProtocol(loader.image, &image_guid, &image) != EFI_SUCCESS) {
        loader_fail("loader", "spillway: the firmware does not say where the loader came from");
    }
    loader.volume = ((EFI_LOADED_IMAGE *)image)->DeviceHandle;
    if (loader.boot->HandleProtocol(loader.volume, &system_guid, &file_system) != EFI_SUCCESS ||
        ((EFI_FILE_IO_INTERFACE *)file_system)->OpenVolume(file_system, &volume) != EFI_SUCCESS) {
        loader_fail("loader", "spillway: %s: cannot open the boot volume", CONFIG_NAME);
    }
}

/* Opens by the path as configured, either slash.  False: no such file. */
static bool file_open(const char *path, EFI_FILE_HANDLE *file)
{
    CHAR16 wide[HANDOVER_PATH_MAX + 1];
    unsigned i = 0;

    for (; path[i] != '\0' && i < HANDOVER_PATH_MAX; i++) {
        wide[i] = path[i] == '/' ? '\\' : (CHAR16)(unsigned char)path[i];
    }
    wide[i] = 0;
    return volume->Open(volume, file, wide, EFI_FILE_MODE_READ, 0) == EFI_SUCCESS;
}

/* Size of a regular file; false for a directory. */
static bool file_size(EFI_FILE_HANDLE file, uint64_t *bytes)
{
    EFI_GUID info_guid = EFI_FILE_INFO_ID;
    union {
        EFI_FILE_INFO info;
        char space[sizeof(EFI_FILE_INFO) + 2 * 256];
    } buffer;
    UINTN size = sizeof(buffer);

    if (file->GetInfo(file, &info_guid, &size, &buffer) != EFI_SUCCESS ||
        (buffer.info.Attribute & EFI_FILE_DIRECTORY)) {
        return false;
    }
    *bytes = buffer.info.FileSize;
    return true;
}

/* One Read call, straight into the file's final place.  False: no such file. */
static bool file_read(const char *path, struct handover_file *out)
{
    EFI_FILE_HANDLE file;
    uint64_t bytes;

    if (!file_open(path, &file)) {
        return false;
    }
    if (!file_size(file, &bytes)) {
        file->Close(file);
        return false;
    }
    void *place = pages_alloc(PAGES(bytes) + 1, 0); /* the page beyond stays zero: text ends */
    UINTN size = bytes;
    if (file->Read(file, &size, place) != EFI_SUCCESS || size != bytes) {
        loader_fail("loader", "spillway: %s: read error", path);
    }
    file->Close(file);
    memcpy(out->path, path, string_length(path) + 1);
    out->address = (uint64_t)(uintptr_t)place;
    out->bytes = bytes;
    return true;
}

/* A file that is already loaded under any spelling of the path, or NULL. */
static const struct handover_file *file_find(const char *path)
{
    const struct handover *h = loader.handover;

    for (uint32_t i = 1; i < h->file_count; i++) {
        if (path_equal(h->file[i].path, path)) {
            return &h->file[i];
        }
    }
    return NULL;
}

static bool path_same(const char *a, const char *b)
{
    size_t length = string_length(a);

    return length == string_length(b) && memcmp(a, b, length) == 0;
}

/* Two spellings of one file share its memory, under two entries: hv/ finds each as written. */
static void file_add(const char *path)
{
    struct handover *h = loader.handover;
    const struct handover_file *known = file_find(path);
    struct handover_file *file = &h->file[h->file_count];

    for (uint32_t i = 1; i < h->file_count; i++) {
        if (path_same(h->file[i].path, path)) {
            return;
        }
    }
    if (h->file_count == HANDOVER_MAX_FILES) {
        return; /* more sections or keys than there may be */
    }
    if (known != NULL) {
        *file = *known;
        memcpy(file->path, path, string_length(path) + 1);
    } else if (file_read(path, file)) {
        loader_print("spillway: loaded %s, %lu KiB\n", path, (file->bytes + 1023) / 1024);
    } else {
        return;
    }
    h->file_count++;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The file that the line names; of a module, words of its own follow.  False: it names none. */
static bool names_file(const struct config_line *line, char path[HANDOVER_PATH_MAX])
{
    bool module = path_same(line->name, "module");
    size_t length = 0;

    if (line->kind != CONFIG_LINE_KEY ||
        !(module || path_same(line->name, "kernel") || path_same(line->name, "initrd"))) {
        return false;
    }
    while (line->value[length] != '\0' && !(module && is_blank(line->value[length]))) {
        length++;
    }
    if (length == 0 || length >= HANDOVER_PATH_MAX) {
        return false;
    }
    memcpy(path, line->value, length);
    path[length] = '\0';
    return true;
}

void files_load(void)
{
    struct handover *h = loader.handover;
    static struct config_line line;
    struct config_text text;
    char path[HANDOVER_PATH_MAX];

    volume_open();
    if (!file_read(CONFIG_NAME, &h->file[0])) {
        loader_refuse("%s: expected that file on the boot volume", CONFIG_NAME);
    }
    h->file_count = 1;
    if (h->file[0].bytes > CONFIG_BYTES) {
        loader_refuse("%s: expected at most 1 MiB, got %lu KiB", CONFIG_NAME,
                      h->file[0].bytes / 1024);
    }
    config_text_start(&text, (const char *)(uintptr_t)h->file[0].address, h->file[0].bytes);
    while (config_text_next(&text, &line)) {
        if (names_file(&line, path)) {
            file_add(path);
        }
    }
}
