// SPDX-License-Identifier: Apache-2.0
#include "runtime/digest.hpp"

#include "base/assert.hpp"

#include <openssl/sha.h>

#include <algorithm>

namespace culvert::runtime {
namespace {

std::string sha256(std::string_view bytes) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> out{};
    SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), out.data());
    return {reinterpret_cast<const char*>(out.data()), out.size()};
}

std::size_t part_of_hash(std::string_view hash) { return static_cast<std::uint8_t>(hash.front()); }

}  // namespace

std::size_t SetDigest::add(std::string_view member) {
    std::string hash = sha256(member);
    const std::size_t part = part_of_hash(hash);
    hashes_.at(part).push_back(std::move(hash));
    return part;
}

std::vector<std::string> SetDigest::parts() const {
    std::vector<std::string> out;
    out.reserve(kParts);
    for (std::vector<std::string> hashes : hashes_) {
        std::ranges::sort(hashes);
        std::string all;
        for (const std::string& hash : hashes) {
            all += hash;
        }
        out.push_back(sha256(all).substr(0, kBytes));
    }
    return out;
}

std::size_t part_of(std::string_view member) { return part_of_hash(sha256(member)); }

}  // namespace culvert::runtime
