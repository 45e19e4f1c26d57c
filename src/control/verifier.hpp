// SPDX-License-Identifier: Apache-2.0
// Walks a store and says what does not fit together. What holds in a good one:
//   every document decodes, stands under its own key and in a group that exists;
//   every reference resolves, and is written both in its source and under its key;
//   every address and number is held by the one resource that has it, and the other way round;
//   what is released is in exactly one list of what is to be freed;
//   an endpoint, its interface and its connection name each other;
//   an attachment has its interface and its node; a role has its principal, a name its owner.
#pragma once

#include "store/store.hpp"

#include <boost/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace culvert::control {

struct Finding {
    std::string key;      // where
    std::string message;  // what is wrong

    bool operator==(const Finding&) const = default;
};

struct Verdict {
    std::int64_t revision = 0;  // of the store when it was read
    std::size_t keys = 0;
    std::size_t resources = 0;
    std::vector<Finding> findings;  // by key; none: all is well
};

// {"revision", "keys", "resources", "findings": [{"key", "message"}]}
boost::json::object show(const Verdict& verdict);

// Reads the whole store at one revision, into memory. Errors: the store's.
Result<Verdict> verify(store::Store& store);

}  // namespace culvert::control
