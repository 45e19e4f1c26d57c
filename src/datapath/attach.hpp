// SPDX-License-Identifier: Apache-2.0
// Puts a stub at an interface's tc ingress: a pinned tcx link where the kernel has it (6.6), a
// clsact filter before that. Both stay when the process ends.
// Thread safety: strand-bound.
#pragma once

#include "base/result.hpp"
#include "datapath/loader.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace culvert::datapath {

enum class AttachMode { kTcx, kClsact };
std::string_view to_string(AttachMode mode);

enum class Hook { kWorkload, kBackbone, kServices };

class Attacher {
  public:
    // `force_clsact`: as on a kernel without tcx.
    static std::unique_ptr<Attacher> make(const Datapath& datapath, bool force_clsact);
    virtual ~Attacher() = default;

    // Idempotent; replaces an older stub of ours, also of the other mode, without a gap.
    // Errors: kConflict when another program holds the hook, kNotFound when the interface is gone.
    virtual Result<AttachMode> attach(std::uint32_t ifindex, Hook hook) = 0;
    // Takes ours off, and only ours. Fine when there is none or the interface is gone.
    virtual Status detach(std::uint32_t ifindex) = 0;
    // Forgets pins of interfaces that no longer exist.
    virtual void sweep() = 0;
    virtual AttachMode mode() const = 0;  // of the last attach
};

// What Attacher::detach does, without loaded programs; `pin_dir` as given to Datapath::open.
Status detach_stub(const std::filesystem::path& pin_dir, std::uint32_t ifindex);

}  // namespace culvert::datapath
