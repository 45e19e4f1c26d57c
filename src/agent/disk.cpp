// SPDX-License-Identifier: Apache-2.0
#include "agent/disk.hpp"

#include "base/limits.hpp"
#include "base/log.hpp"
#include "runtime/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace culvert::agent {
namespace {

constexpr std::string_view kMagic = "culvert intent 1\n";
constexpr std::size_t kHeadBytes = 8;  // length, CRC
constexpr mode_t kPrivate = 0600;
// a log is rewritten when it is larger than this and than twice its snapshot
constexpr std::uint64_t kSlackBytes = std::uint64_t{1} << 20;
constexpr std::size_t kFileBytes = limits::kIntentMessageBytes * 4;

// CRC-32C (RFC 3720 12.1), bit by bit from a table.
std::uint32_t crc32c(std::string_view bytes) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> out{};
        for (std::uint32_t at = 0; at < out.size(); ++at) {
            std::uint32_t value = at;
            for (int bit = 0; bit < 8; ++bit) {
                value = (value & 1) != 0 ? value >> 1 ^ 0x82f63b78u : value >> 1;
            }
            out[at] = value;
        }
        return out;
    }();
    std::uint32_t crc = ~0u;
    for (const char byte : bytes) {
        crc = crc >> 8 ^ table[(crc ^ static_cast<std::uint8_t>(byte)) & 0xff];
    }
    return ~crc;
}

std::string frame(const api::Delta& delta) {
    const std::string payload = delta.SerializeAsString();
    std::string out(kHeadBytes, '\0');
    const auto length = static_cast<std::uint32_t>(payload.size());
    const std::uint32_t crc = crc32c(payload);
    std::memcpy(out.data(), &length, sizeof(length));
    std::memcpy(out.data() + sizeof(length), &crc, sizeof(crc));
    return out + payload;
}

// The payload of the frame that `rest` begins with; empty when it is torn or damaged.
std::optional<std::string_view> unframe(std::string_view rest) {
    if (rest.size() < kHeadBytes) {
        return std::nullopt;
    }
    std::uint32_t length = 0;
    std::uint32_t crc = 0;
    std::memcpy(&length, rest.data(), sizeof(length));
    std::memcpy(&crc, rest.data() + sizeof(length), sizeof(crc));
    if (length > rest.size() - kHeadBytes) {
        return std::nullopt;
    }
    const auto payload = rest.substr(kHeadBytes, length);
    return crc32c(payload) == crc ? std::optional(payload) : std::nullopt;
}

bool replay(std::string_view payload, State& state) {
    api::Delta delta;
    if (!delta.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
        return false;
    }
    const auto plan = state.plan(delta);
    if (!plan) {
        spdlog::warn("agent: intent on disk: {}", plan.error().message);
        return false;
    }
    for (const Change& change : plan->changes) {
        state.commit(change);
    }
    state.conclude(*plan);
    return true;
}

}  // namespace

Result<std::unique_ptr<Disk>> Disk::open(const std::filesystem::path& path, State& state) {
    auto out = std::unique_ptr<Disk>(new Disk(path));
    if (auto loaded = out->load(state); !loaded) {
        return std::unexpected(prefixed(std::move(loaded.error()), "load intent"));
    }
    return out;
}

Status Disk::load(State& state) {
    auto content = runtime::read_file(path_, kFileBytes);
    if (!content && content.error().code == Code::kNotFound) {
        return {};
    }
    if (!content) {
        return std::unexpected(std::move(content.error()));
    }
    std::string_view rest(*content);
    std::uint64_t good = 0;
    if (rest.starts_with(kMagic)) {
        rest.remove_prefix(kMagic.size());
        while (const auto payload = unframe(rest)) {
            if (!replay(*payload, state)) {
                break;
            }
            const std::size_t step = kHeadBytes + payload->size();
            snapshot_bytes_ = good == 0 ? step : snapshot_bytes_;
            good += step;
            rest.remove_prefix(step);
        }
    }
    if (good == 0) {
        auto aside = path_;
        aside += ".bad";
        spdlog::warn("agent: {} cannot be read, kept as {}", path_.string(), aside.string());
        std::error_code error;
        std::filesystem::rename(path_, aside, error);
        return error ? Status(std::unexpected(error_from_errno(error.value(), "set aside")))
                     : Status();
    }
    if (!rest.empty()) {
        spdlog::warn("agent: intent on disk ends in {} torn bytes, cut off", rest.size());
    }
    bytes_ = kMagic.size() + good;
    if (::truncate(path_.c_str(), static_cast<off_t>(bytes_)) != 0) {
        return std::unexpected(error_from_errno(errno, "cut off"));
    }
    return reopen();
}

Status Disk::reopen() {
    log_ = runtime::Fd(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
    if (!log_) {
        return std::unexpected(error_from_errno(errno, fmt::format("open {}", path_.string())));
    }
    return {};
}

Status Disk::replace(const api::Delta& snapshot) {
    const std::string content = std::string(kMagic) + frame(snapshot);
    CULVERT_TRY_STATUS(runtime::replace_file(path_, content, kPrivate));
    bytes_ = content.size();
    snapshot_bytes_ = content.size();
    dirty_ = false;
    return reopen();
}

Status Disk::append(const api::Delta& delta) {
    if (delta.snapshot() || (!log_ && !delta.resume())) {
        return replace(delta);
    }
    if (!log_) {
        return fail(Code::kInternal, "keep intent: there is none on disk to go on from");
    }
    const std::string bytes = frame(delta);
    if (auto written = runtime::write_all(log_.get(), bytes); !written) {
        // half a frame must not hide what comes after it
        static_cast<void>(::ftruncate(log_.get(), static_cast<off_t>(bytes_)));
        return std::unexpected(prefixed(std::move(written.error()), "keep intent"));
    }
    bytes_ += bytes.size();
    dirty_ = true;
    return {};
}

Status Disk::compact(const State& state) {
    if (bytes_ <= kSlackBytes || bytes_ <= 2 * snapshot_bytes_ || state.epoch().empty()) {
        return {};
    }
    api::Delta snapshot;
    snapshot.set_epoch(state.epoch());
    snapshot.set_version(state.version());
    snapshot.set_snapshot(true);
    for (const auto& [key, object] : state.objects()) {
        *snapshot.add_upsert() = object;
    }
    return replace(snapshot);
}

runtime::Fd Disk::take_unsynced() {
    if (!dirty_) {
        return {};
    }
    dirty_ = false;
    return runtime::Fd(::fcntl(log_.get(), F_DUPFD_CLOEXEC, 0));
}

}  // namespace culvert::agent
