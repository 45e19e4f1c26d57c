// SPDX-License-Identifier: Apache-2.0
#include "datapath/notes.hpp"

#include "abi/note.h"
#include "datapath/echoes.hpp"

#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>

namespace culvert::datapath {
namespace {

constexpr int kAtOnce = 256;  // whoever reads has other things to do

class RingNotes final : public Notes {
  public:
    RingNotes() = default;
    RingNotes(const RingNotes&) = delete;
    RingNotes& operator=(const RingNotes&) = delete;
    ~RingNotes() override { ring_buffer__free(ring_); }

    Status start(int map) {
        ring_ = ring_buffer__new(map, taken, this, nullptr);
        if (ring_ == nullptr) {
            return std::unexpected(error_from_errno(errno, "read cv_notes"));
        }
        while (read([](std::uint32_t, std::span<const std::uint8_t>) {})) {
        }
        return {};
    }

    int fd() const override { return ring_buffer__epoll_fd(ring_); }

    bool read(const Take& take) override {
        take_ = &take;
        left_ = kAtOnce;
        static_cast<void>(ring_buffer__consume(ring_));
        take_ = nullptr;
        return left_ <= 0;
    }

  private:
    static int taken(void* self, void* data, std::size_t bytes) {
        if (bytes < sizeof(cv_note)) {
            return 0;
        }
        const auto* note = static_cast<const cv_note*>(data);
        const std::size_t length = std::min<std::size_t>(note->bytes, sizeof(note->data));
        auto& notes = *static_cast<RingNotes*>(self);
        (*notes.take_)(note->node, {&note->data[0], length});
        return --notes.left_ > 0 ? 0 : -1;  // taken, too; the rest comes with the next turn
    }

    ring_buffer* ring_ = nullptr;
    const Take* take_ = nullptr;
    int left_ = 0;
};

}  // namespace

Result<std::unique_ptr<Notes>> Notes::open(const Datapath& datapath) {
    const int map = datapath.map("cv_notes");
    if (map < 0) {
        return fail(Code::kInternal, "map cv_notes: not in the programs");
    }
    auto out = std::make_unique<RingNotes>();
    if (auto started = out->start(map); !started) {
        return std::unexpected(std::move(started.error()));
    }
    return out;
}

std::vector<std::uint8_t> note_frame(std::span<const std::uint8_t> note) {
    std::vector<std::uint8_t> out = between_nodes(CV_NOTE_ETHERTYPE);
    out.insert(out.end(), note.begin(), note.end());
    return out;
}

}  // namespace culvert::datapath
