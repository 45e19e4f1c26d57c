// SPDX-License-Identifier: Apache-2.0
// One kernel map by its descriptor, with a typed key and value. Used by maps.cpp only.
#pragma once

#include "base/result.hpp"

#include <bpf/bpf.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <vector>

namespace culvert::datapath {

template <typename Key, typename Value>
class KernelMap {
  public:
    KernelMap() = default;
    KernelMap(int fd, const char* name) : fd_(fd), name_(name) {}

    Status put(const Key& key, const Value& value) const {
        if (bpf_map_update_elem(fd_, &key, &value, BPF_ANY) != 0) {
            return std::unexpected(failure(errno));
        }
        return {};
    }
    // Fine when there is no such key.
    Status remove(const Key& key) const {
        if (bpf_map_delete_elem(fd_, &key) != 0 && errno != ENOENT) {
            return std::unexpected(failure(errno));
        }
        return {};
    }
    // Every key of a hash or trie; the map must not change meanwhile by other hands.
    Result<std::vector<Key>> keys() const {
        std::vector<Key> out;
        Key key{};
        const Key* from = nullptr;
        while (bpf_map_get_next_key(fd_, from, &key) == 0) {
            out.push_back(key);
            from = &key;
        }
        if (errno != ENOENT) {
            return std::unexpected(failure(errno));
        }
        return out;
    }
    // All values of an array of `count` entries, in big batches.
    Result<std::vector<Value>> array(std::uint32_t count) const {
        std::vector<Value> out(count);
        std::vector<std::uint32_t> keys(count);
        std::uint32_t done = 0;
        std::uint32_t batch = 0;
        while (done < count) {
            std::uint32_t step = count - done;
            const int error =
                bpf_map_lookup_batch(fd_, done == 0 ? nullptr : &batch, &batch, keys.data() + done,
                                     out.data() + done, &step, nullptr);
            if (error != 0 && errno != ENOENT) {
                return std::unexpected(failure(errno));
            }
            done += step;
            if (error != 0 || step == 0) {
                break;
            }
        }
        return out;
    }
    int fd() const { return fd_; }

  private:
    Error failure(int error) const {
        Error out = error_from_errno(error, fmt::format("map {}", name_));
        if (error == E2BIG || error == ENOMEM || error == ENOSPC) {
            out.message = fmt::format("map {}: full", name_);
            out.code = Code::kTooLarge;
        }
        return out;
    }

    int fd_ = -1;
    const char* name_ = "";
};

}  // namespace culvert::datapath
