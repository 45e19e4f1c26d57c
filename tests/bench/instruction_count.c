// SPDX-License-Identifier: Apache-2.0
// Counts what an emulated machine executes: a plug-in for QEMU 7.2's emulator (plug-in API 1).
//
// Each guest instruction is counted once, the kernel's and user space's apart; a halted processor
// executes nothing, so idle time does not count. A repeated string instruction (rep movs and its
// like) counts once however often it repeats, as processors count it, although the emulator takes
// one step for each repetition.
//
// Arguments: out=FILE, which is written anew whenever the guest executes the mark,
// nopl 0x43564d4b(%rax): "<all> <kernel's>\n". profile=FILE: the same moment also appends, for each
// kernel instruction executed since the mark before, its address and how often.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The part of the emulator's interface that is used here.
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;
enum { kNoRegisters = 0, kAdd64 = 0 };
typedef void (*InsnCallback)(unsigned int cpu, void* data);
typedef void (*BlockCallback)(uint64_t id, struct qemu_plugin_tb* tb);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb* tb);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb* tb, size_t index);
const void* qemu_plugin_insn_data(const struct qemu_plugin_insn* insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn* insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn* insn);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn* insn, InsnCallback callback,
                                            int flags, void* data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn* insn, int op, void* value,
                                                uint64_t immediate);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, BlockCallback callback);

#define EXPORT __attribute__((visibility("default")))
EXPORT extern int qemu_plugin_version;
EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info* info, int argc, char** argv);

// One place of the kernel's code; only with profile=.
struct Place {
    uint64_t address, times, told;
};
#define PLACES (1u << 20)

static uint64_t counts[2];  // user space's, the kernel's
static const char *out_path, *profile_path;
static struct Place* places;
static uint64_t repeating_at, repeating_since;

static bool is_mark(const uint8_t* bytes, size_t size) {
    static const uint8_t mark[] = {0x0f, 0x1f, 0x80, 0x4b, 0x4d, 0x56, 0x43};
    return size == sizeof(mark) && memcmp(bytes, mark, size) == 0;
}

// REP or REPNE before INS, OUTS, MOVS, CMPS, STOS, LODS or SCAS (AMD64 manual volume 3, 1.2.6).
static bool is_repeated_string(const uint8_t* bytes, size_t size) {
    bool repeated = false;
    size_t i = 0;
    for (; i < size; i++) {
        uint8_t byte = bytes[i];
        if (byte == 0xf2 || byte == 0xf3)
            repeated = true;
        else if (byte != 0x66 && byte != 0x67 && (byte & 0xf0) != 0x40)
            break;
    }
    if (!repeated || i + 1 != size)
        return false;
    uint8_t op = bytes[i];
    return (op >= 0x6c && op <= 0x6f) || (op >= 0xa4 && op <= 0xa7) || (op >= 0xaa && op <= 0xaf);
}

static struct Place* place_of(uint64_t address) {
    for (uint64_t i = address * 0x9e3779b97f4a7c15u >> 44;; i = (i + 1) % PLACES) {
        if (places[i].address == address)
            return &places[i];
        if (places[i].address == 0) {
            places[i].address = address;
            return &places[i];
        }
    }
}

static void tell_profile(void) {
    FILE* out = fopen(profile_path, "a");
    if (!out)
        return;
    fprintf(out, "mark\n");
    for (size_t i = 0; i < PLACES; i++) {
        if (places[i].times != places[i].told)
            fprintf(out, "%llx %llu\n", (unsigned long long)places[i].address,
                    (unsigned long long)(places[i].times - places[i].told));
        places[i].told = places[i].times;
    }
    fclose(out);
}

static void on_mark(unsigned int cpu, void* data) {
    (void)cpu;
    (void)data;
    char line[64];
    int size = snprintf(line, sizeof(line), "%llu %llu\n",
                        (unsigned long long)(counts[0] + counts[1]), (unsigned long long)counts[1]);
    int fd = open(out_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, line, (size_t)size) != size)
        abort();  // without its output a run means nothing
    close(fd);
    if (profile_path)
        tell_profile();
}

// A repetition goes on when nothing else was executed since the last step at the same address.
static void on_repeated_string(unsigned int cpu, void* data) {
    (void)cpu;
    uint64_t address = (uint64_t)(uintptr_t)data;
    if (repeating_at == address && repeating_since == counts[0] + counts[1])
        return;
    counts[address >> 63] += 1;
    if (places && address >> 63)
        place_of(address)->times += 1;
    repeating_at = address;
    repeating_since = counts[0] + counts[1];
}

static void on_translation(uint64_t id, struct qemu_plugin_tb* tb) {
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(tb);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
        const uint8_t* bytes = qemu_plugin_insn_data(insn);
        size_t size = qemu_plugin_insn_size(insn);
        uint64_t address = qemu_plugin_insn_vaddr(insn);
        if (is_repeated_string(bytes, size)) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_repeated_string, kNoRegisters,
                                                   (void*)(uintptr_t)address);
            continue;
        }
        if (is_mark(bytes, size))
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, kNoRegisters, NULL);
        qemu_plugin_register_vcpu_insn_exec_inline(insn, kAdd64, &counts[address >> 63], 1);
        if (places && address >> 63)
            qemu_plugin_register_vcpu_insn_exec_inline(insn, kAdd64, &place_of(address)->times, 1);
    }
}

EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info* info, int argc, char** argv) {
    (void)info;
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "out=", 4) == 0)
            out_path = strdup(argv[i] + 4);
        else if (strncmp(argv[i], "profile=", 8) == 0)
            profile_path = strdup(argv[i] + 8);
    }
    if (!out_path) {
        fprintf(stderr, "instruction_count: out=FILE is missing\n");
        return -1;
    }
    if (profile_path)
        places = calloc(PLACES, sizeof(*places));
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
