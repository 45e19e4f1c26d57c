// SPDX-License-Identifier: Apache-2.0
// Which life of the store this is: each restore from a backup begins another, whose epoch nobody
// has seen, also when the same backup is restored again after everything was lost. The number is
// above that of every life before it: it is the time of the restore, or one more than the last.
#pragma once

#include "base/clock.hpp"
#include "base/random.hpp"
#include "base/result.hpp"
#include "store/store.hpp"

#include <cstdint>
#include <string>

namespace culvert::control {

struct RestoreEpoch {
    std::uint32_t number = 0;  // 0: never restored. Generations of numbers begin with it
    std::string text = "0";    // as it is stored: "<number>-<random>"

    // Of the store. Error: kCorrupt.
    static Result<RestoreEpoch> read(store::Store& store);
    // The one after `known`.
    static RestoreEpoch after(std::uint32_t known, WallTime now, Random& random);
};

}  // namespace culvert::control
