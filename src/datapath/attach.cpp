// SPDX-License-Identifier: Apache-2.0
#include "datapath/attach.hpp"

#include "base/log.hpp"
#include "runtime/fd.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>

#include <cerrno>
#include <filesystem>
#include <optional>

namespace culvert::datapath {
namespace {

// bookworm's headers are of 6.1 and lack what 6.6 brought (enum bpf_attach_type, BPF_F_BEFORE)
constexpr int kTcxIngress = 46;
constexpr std::uint32_t kBefore = 1u << 3;
// our filter under clsact: first in line, with a handle that tells it from others
constexpr std::uint32_t kPriority = 1;
constexpr std::uint32_t kHandle = 0xcf01;

bpf_tc_hook ingress_of(std::uint32_t ifindex) {
    bpf_tc_hook hook{};
    hook.sz = sizeof(hook);
    hook.ifindex = static_cast<int>(ifindex);
    hook.attach_point = BPF_TC_INGRESS;
    return hook;
}

bpf_tc_opts our_filter() {
    bpf_tc_opts filter{};
    filter.sz = sizeof(filter);
    filter.handle = kHandle;
    filter.priority = kPriority;
    return filter;
}

// The interface that a pinned tcx link is on; 0 when the interface is gone.
std::uint32_t interface_of(int link) {
    bpf_link_info info{};
    std::uint32_t length = sizeof(info);
    if (bpf_obj_get_info_by_fd(link, &info, &length) != 0) {
        return 0;
    }
    return info.xdp.ifindex;  // tcx.ifindex lies at the same place
}

std::filesystem::path pin_of(const std::filesystem::path& link_dir, std::uint32_t ifindex) {
    return link_dir / fmt::format("{}", ifindex);
}

Status detach_tcx(const std::filesystem::path& link_dir, std::uint32_t ifindex) {
    const auto pin = pin_of(link_dir, ifindex);
    const runtime::Fd link(bpf_obj_get(pin.c_str()));
    if (!link) {
        return {};
    }
    if (interface_of(link.get()) != 0 && bpf_link_detach(link.get()) != 0) {
        return std::unexpected(
            error_from_errno(errno, fmt::format("detach from interface {}", ifindex)));
    }
    std::error_code error;
    std::filesystem::remove(pin, error);
    return {};
}

Status detach_clsact(std::uint32_t ifindex) {
    bpf_tc_hook hook = ingress_of(ifindex);
    bpf_tc_opts filter = our_filter();
    const int error = bpf_tc_detach(&hook, &filter);
    if (error != 0 && error != -ENOENT && error != -EINVAL && error != -ENODEV) {
        return std::unexpected(
            error_from_errno(-error, fmt::format("detach from interface {}", ifindex)));
    }
    return {};
}

class TcAttacher final : public Attacher {
  public:
    TcAttacher(const Datapath& datapath, bool force_clsact)
        : datapath_(datapath), force_clsact_(force_clsact) {}

    Result<AttachMode> attach(std::uint32_t ifindex, Hook hook) override {
        const int program = hook == Hook::kWorkload   ? datapath_.stub_workload()
                            : hook == Hook::kBackbone ? datapath_.stub_backbone()
                                                      : datapath_.stub_services();
        if (!force_clsact_) {
            auto attached = attach_tcx(ifindex, program);
            if (!attached) {
                return std::unexpected(std::move(attached.error()));
            }
            if (*attached) {
                static_cast<void>(detach_clsact(ifindex));
                mode_ = AttachMode::kTcx;
                return mode_;
            }
        }
        if (auto attached = attach_clsact(ifindex, program); !attached) {
            return std::unexpected(std::move(attached.error()));
        }
        static_cast<void>(detach_tcx(datapath_.link_dir(), ifindex));
        mode_ = AttachMode::kClsact;
        return mode_;
    }

    Status detach(std::uint32_t ifindex) override {
        CULVERT_TRY_STATUS(detach_tcx(datapath_.link_dir(), ifindex));
        return detach_clsact(ifindex);
    }

    void sweep() override {
        std::error_code error;
        for (const auto& entry : std::filesystem::directory_iterator(datapath_.link_dir(), error)) {
            const runtime::Fd link(bpf_obj_get(entry.path().c_str()));
            if (link && interface_of(link.get()) == 0) {
                std::filesystem::remove(entry.path(), error);
            }
        }
    }

    AttachMode mode() const override { return mode_; }

  private:
    // True: attached. False: this kernel has no tcx.
    Result<bool> attach_tcx(std::uint32_t ifindex, int program) {
        const auto pin = pin_of(datapath_.link_dir(), ifindex);
        if (const runtime::Fd old(bpf_obj_get(pin.c_str())); old) {
            if (interface_of(old.get()) == ifindex &&
                bpf_link_update(old.get(), program, nullptr) == 0) {
                return true;
            }
            std::error_code error;  // of an interface that had this index before
            std::filesystem::remove(pin, error);
        }
        bpf_link_create_opts options{};
        options.sz = sizeof(options);
        options.flags = kBefore;
        const runtime::Fd link(bpf_link_create(program, static_cast<int>(ifindex),
                                               static_cast<bpf_attach_type>(kTcxIngress),
                                               &options));
        if (!link) {
            const int error = errno;
            if (error == EINVAL || error == EOPNOTSUPP || error == ENOSYS) {
                return false;
            }
            return std::unexpected(refusal(error, ifindex));
        }
        if (bpf_obj_pin(link.get(), pin.c_str()) != 0) {
            return std::unexpected(error_from_errno(errno, fmt::format("pin {}", pin.string())));
        }
        return true;
    }

    static Error refusal(int error, std::uint32_t ifindex) {
        Error out = error_from_errno(error, fmt::format("attach to interface {}", ifindex));
        if (error == EBUSY || error == EEXIST) {
            out.message = fmt::format(
                "attach to interface {}: another program holds its ingress hook (see 'bpftool net' "
                "and 'tc filter show dev ... ingress')",
                ifindex);
        }
        return out;
    }

    static Status attach_clsact(std::uint32_t ifindex, int program) {
        bpf_tc_hook hook = ingress_of(ifindex);
        if (const int error = bpf_tc_hook_create(&hook); error != 0 && error != -EEXIST) {
            return std::unexpected(refusal(-error, ifindex));
        }
        bpf_tc_opts filter = our_filter();
        filter.prog_fd = program;
        filter.flags = BPF_TC_F_REPLACE;
        if (const int error = bpf_tc_attach(&hook, &filter); error != 0) {
            return std::unexpected(refusal(-error, ifindex));
        }
        return {};
    }

    const Datapath& datapath_;
    const bool force_clsact_;
    AttachMode mode_ = AttachMode::kTcx;
};

}  // namespace

std::string_view to_string(AttachMode mode) { return mode == AttachMode::kTcx ? "tcx" : "clsact"; }

std::unique_ptr<Attacher> Attacher::make(const Datapath& datapath, bool force_clsact) {
    return std::make_unique<TcAttacher>(datapath, force_clsact);
}

Status detach_stub(const std::filesystem::path& pin_dir, std::uint32_t ifindex) {
    libbpf_set_print(nullptr);  // it warns of a filter that is not there
    CULVERT_TRY_STATUS(detach_tcx(pin_dir / kLinkDirectory, ifindex));
    return detach_clsact(ifindex);
}

}  // namespace culvert::datapath
