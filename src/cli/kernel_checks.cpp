// SPDX-License-Identifier: Apache-2.0
#include "cli/checks.hpp"

#include <fmt/format.h>
#include <linux/bpf.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace culvert::cli {
namespace {

constexpr long kBpfFsMagic = 0xcafe4a11;  // linux/magic.h BPF_FS_MAGIC
// linux/bpf.h of 6.6; the headers this is built with may be older
constexpr std::uint32_t kAttachTcxIngress = 46;

long bpf(int command, bpf_attr& attr) { return ::syscall(SYS_bpf, command, &attr, sizeof attr); }

Check release_check() {
    utsname name{};
    ::uname(&name);
    const auto version = parse_release(name.release);
    if (version < std::pair{6, 1}) {
        return {"kernel", Verdict::kFail, name.release,
                "6.1 or newer is needed (Debian 12's own kernel is): apt-get install "
                "linux-image-amd64"};
    }
    return {"kernel", Verdict::kOk, name.release, ""};
}

Check btf_check() {
    if (::access("/sys/kernel/btf/vmlinux", R_OK) == 0) {
        return {"BTF", Verdict::kOk, "/sys/kernel/btf/vmlinux", ""};
    }
    return {"BTF", Verdict::kFail, "/sys/kernel/btf/vmlinux is not there",
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y (every Debian kernel has it)"};
}

// Asks the kernel rather than its settings: makes an array map of one entry.
Check syscall_check() {
    bpf_attr attr{};
    attr.map_type = BPF_MAP_TYPE_ARRAY;
    attr.key_size = 4;
    attr.value_size = 4;
    attr.max_entries = 1;
    const long fd = bpf(BPF_MAP_CREATE, attr);
    if (fd >= 0) {
        ::close(static_cast<int>(fd));
        return {"BPF system call", Verdict::kOk, "maps can be made", ""};
    }
    const int why = errno;
    return {"BPF system call", Verdict::kFail,
            fmt::format("cannot make a map: {}", std::strerror(why)),
            why == EPERM
                ? "run as root with CAP_BPF and CAP_NET_ADMIN; inside a container give it these"
                : "use a kernel with CONFIG_BPF_SYSCALL=y"};
}

Check jit_check() {
    auto text = read_file("/proc/sys/net/core/bpf_jit_enable");
    if (!text) {
        return {"BPF JIT", Verdict::kOk, "always on in this kernel", ""};
    }
    if (text->starts_with("0")) {
        return {"BPF JIT", Verdict::kWarn, "off: packets are several times slower",
                "sysctl -w net.core.bpf_jit_enable=1"};
    }
    return {"BPF JIT", Verdict::kOk, "on", ""};
}

Check bpffs_check() {
    struct statfs found{};
    if (::statfs("/sys/fs/bpf", &found) == 0 && static_cast<long>(found.f_type) == kBpfFsMagic) {
        return {"bpffs", Verdict::kOk, "/sys/fs/bpf", ""};
    }
    auto known = read_file("/proc/filesystems");
    if (known && known->contains("\tbpf\n")) {
        return {"bpffs", Verdict::kOk, "not mounted yet; the agent mounts it", ""};
    }
    return {"bpffs", Verdict::kFail,
            "this kernel has no BPF file system: programs could not outlive the agent",
            "use a kernel with CONFIG_BPF_SYSCALL=y"};
}

// Loads "return TCX_PASS" and asks to attach it to an interface that cannot exist: a kernel with
// tcx misses the interface (ENODEV), an older one does not know the attach type (EINVAL).
Check tcx_check() {
    const std::array<bpf_insn, 2> code{{
        {.code = BPF_ALU64 | BPF_MOV | BPF_K,
         .dst_reg = BPF_REG_0,
         .src_reg = 0,
         .off = 0,
         .imm = 0},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
    }};
    bpf_attr load{};
    load.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    load.insn_cnt = static_cast<std::uint32_t>(code.size());
    load.insns = reinterpret_cast<std::uintptr_t>(code.data());
    load.license = reinterpret_cast<std::uintptr_t>("Dual BSD/GPL");
    const long program = bpf(BPF_PROG_LOAD, load);
    if (program < 0) {
        return {"tcx", Verdict::kFail,
                fmt::format("cannot load a program: {}", std::strerror(errno)),
                "run as root with CAP_BPF and CAP_NET_ADMIN; the kernel needs CONFIG_NET_CLS_BPF"};
    }
    bpf_attr attach{};
    attach.link_create.prog_fd = static_cast<std::uint32_t>(program);
    attach.link_create.target_ifindex = 0x7fffffff;
    attach.link_create.attach_type = kAttachTcxIngress;
    const long link = bpf(BPF_LINK_CREATE, attach);
    const int why = errno;
    ::close(static_cast<int>(program));
    if (link >= 0) {
        ::close(static_cast<int>(link));
    }
    if (link < 0 && why != ENODEV) {
        return {"tcx", Verdict::kOk,
                "not in this kernel; the agent uses clsact (tcx comes with 6.6)", ""};
    }
    return {"tcx", Verdict::kOk, "available", ""};
}

}  // namespace

std::pair<int, int> parse_release(std::string_view release) {
    std::pair<int, int> out{0, 0};
    const auto* end = release.data() + release.size();
    // NOLINTNEXTLINE(bugprone-suspicious-stringview-data-usage): `end` bounds it
    const auto major = std::from_chars(release.data(), end, out.first);
    if (major.ec != std::errc{} || major.ptr == end || *major.ptr != '.') {
        return {0, 0};
    }
    const auto minor = std::from_chars(major.ptr + 1, end, out.second);
    return minor.ec == std::errc{} ? out : std::pair{0, 0};
}

std::vector<Check> kernel_checks() {
    return {release_check(), btf_check(), syscall_check(), jit_check(), bpffs_check(), tcx_check()};
}

}  // namespace culvert::cli
