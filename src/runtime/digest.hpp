// SPDX-License-Identifier: Apache-2.0
// What two sides hold, compared without sending it: a set of byte strings falls into parts by its
// members' hashes, and two sets are equal in a part when its digests are (SHA-256, cut to 128 bits:
// nobody can make two sets with one digest). A value: not thread-safe.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::runtime {

class SetDigest {
  public:
    static constexpr std::size_t kParts = 256;
    static constexpr std::size_t kBytes = 16;  // of a part's digest

    // Adds a member and says which part it is in. A member is added once.
    std::size_t add(std::string_view member);
    // A digest a part, whatever the order in which members came.
    std::vector<std::string> parts() const;

  private:
    std::array<std::vector<std::string>, kParts> hashes_;
};

// Which part a member is in.
std::size_t part_of(std::string_view member);

}  // namespace culvert::runtime
