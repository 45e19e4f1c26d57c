// SPDX-License-Identifier: Apache-2.0
#include "datapath/ended.hpp"

#include "abi/ended.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <cerrno>
#include <cstring>

namespace culvert::datapath {
namespace {

class RingEnded final : public Ended {
  public:
    RingEnded() = default;
    RingEnded(const RingEnded&) = delete;
    RingEnded& operator=(const RingEnded&) = delete;
    ~RingEnded() override { ring_buffer__free(ring_); }

    Status map(int fd) {
        ring_ = ring_buffer__new(fd, note, this, nullptr);
        return ring_ == nullptr ? std::unexpected(error_from_errno(errno, "map cv_ended"))
                                : Status();
    }

    Result<std::vector<EndedFlow>> take(std::chrono::milliseconds wait) override {
        const int count = ring_buffer__poll(ring_, static_cast<int>(wait.count()));
        if (count < 0 && count != -EINTR) {
            return std::unexpected(error_from_errno(-count, "read cv_ended"));
        }
        return std::exchange(taken_, {});
    }

  private:
    static int note(void* self, void* data, std::size_t bytes) {
        cv_ended ended{};
        if (bytes >= sizeof(ended)) {
            std::memcpy(&ended, data, sizeof(ended));
            EndedFlow out{.when = std::chrono::nanoseconds(ended.ended_ns), .copy = {}};
            out.copy.key = ended.key;
            out.copy.flow = ended.flow;
            out.copy.paired = (ended.flow.flags & CV_FLOW_PAIRED) != 0;
            static_cast<RingEnded*>(self)->taken_.push_back(out);
        }
        return 0;
    }

    ring_buffer* ring_ = nullptr;
    std::vector<EndedFlow> taken_;
};

}  // namespace

Result<std::unique_ptr<Ended>> Ended::open(const Datapath& datapath) {
    const int fd = datapath.map("cv_ended");
    if (fd < 0 || datapath.program("send_frame") < 0) {
        return fail(Code::kInternal, "load data plane: nothing that tells of ended connections");
    }
    auto out = std::make_unique<RingEnded>();
    if (auto mapped = out->map(fd); !mapped) {
        return std::unexpected(std::move(mapped.error()));
    }
    return out;
}

Status send_frame(const Datapath& datapath, std::uint32_t ifindex,
                  std::span<const std::uint8_t> frame) {
    __sk_buff context{};
    context.cb[0] = ifindex;
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = frame.data();
    options.data_size_in = static_cast<std::uint32_t>(frame.size());
    options.ctx_in = &context;
    options.ctx_size_in = sizeof(context);
    if (const int error = bpf_prog_test_run_opts(datapath.program("send_frame"), &options);
        error != 0) {
        return std::unexpected(error_from_errno(-error, "send a frame"));
    }
    return options.retval == 0 ? Status() : fail(Code::kUnavailable, "send a frame: not taken");
}

}  // namespace culvert::datapath
